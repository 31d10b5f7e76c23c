"""Parts as subprocesses of an asyncio program: what system tests and benchmarks start the platform with."""

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from loadgen.errors import LoadgenError
from loadgen.stack.plan import Part
from loadgen.stack.ready import wait_ready

STOP_TIMEOUT_S = 15.0
"""More than any part's own deadline; what is still there then is killed, and `stop` says so."""

LOG_TAIL_LINES = 20


class PartGroup:
    """Runs parts, each with its output in `directory`/NAME.log; ends all of them when the block is left.

    async with PartGroup(tmp_path, os.environ) as group:
        await group.start(plan_stack(options))
        ...
        await group.stop("gateway-2")
    """

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self._environ = environ
        self._processes: dict[str, asyncio.subprocess.Process] = {}

    def __repr__(self) -> str:
        states = {name: process.returncode for name, process in self._processes.items()}
        return f"<PartGroup {states}>"

    async def __aenter__(self) -> "PartGroup":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop_all()

    async def start(self, parts: Iterable[Part], ready_timeout_s: float = 30.0) -> None:
        """Start the parts in order and wait until all are ready.

        Raises `LoadgenError` with the end of its log when a part dies or does not become ready in time.
        A part that has ended may be started again under the same name; its log is continued.
        """
        started = list(parts)
        for part in started:
            await self._spawn(part)
        await self._wait_ready(started, ready_timeout_s)

    def pid(self, name: str) -> int:
        """Return the process id of a part."""
        return self._processes[name].pid

    def log(self, name: str) -> str:
        """Return what a part has printed so far."""
        return self._log_path(name).read_text("utf-8", "replace")

    def signal(self, name: str, number: signal.Signals) -> None:
        """Send a signal to a part."""
        self._processes[name].send_signal(number)

    async def wait(self, name: str) -> int:
        """Wait for a part to end by itself and return its exit code (negative: the signal that ended it)."""
        return await self._processes[name].wait()

    async def stop(self, name: str) -> int:
        """Ask a part to end and return its exit code; one that does not end in time is killed and returns -9."""
        process = self._processes[name]
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
                # A part that a test has frozen must be able to hear it.
                process.send_signal(signal.SIGCONT)
        try:
            async with asyncio.timeout(STOP_TIMEOUT_S):
                return await process.wait()
        except TimeoutError:
            return await self._kill(process)

    async def stop_all(self) -> dict[str, int]:
        """End all parts, those started last first, and return their exit codes by name."""
        codes = {}
        for name in reversed(self._processes):
            codes[name] = await self.stop(name)
        return codes

    async def _spawn(self, part: Part) -> None:
        old = self._processes.pop(part.name, None)
        assert old is None or old.returncode is not None, f"{part.name} is running already"
        with self._log_path(part.name).open("ab") as log:
            self._processes[part.name] = await asyncio.create_subprocess_exec(
                *part.argv,
                env={**self._environ, **part.env},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    async def _wait_ready(self, parts: list[Part], timeout_s: float) -> None:
        ready = asyncio.ensure_future(wait_ready(parts, timeout_s))
        ends = {asyncio.ensure_future(self.wait(part.name)): part.name for part in parts}
        try:
            await asyncio.wait([ready, *ends], return_when=asyncio.FIRST_COMPLETED)
            for end, name in ends.items():
                if end.done():
                    raise LoadgenError(f"{name} ended with {end.result()}:\n{self._tail(name)}")
            for name, answer in (await ready).items():
                raise LoadgenError(f"{name} not ready after {timeout_s:g} s ({answer}):\n{self._tail(name)}")
        finally:
            for waiting in (ready, *ends):
                waiting.cancel()
            await asyncio.gather(ready, *ends, return_exceptions=True)

    async def _kill(self, process: asyncio.subprocess.Process) -> int:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return await process.wait()

    def _log_path(self, name: str) -> Path:
        return self._directory / f"{name}.log"

    def _tail(self, name: str) -> str:
        return "\n".join(self.log(name).splitlines()[-LOG_TAIL_LINES:])

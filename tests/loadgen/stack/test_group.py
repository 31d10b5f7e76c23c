"""Parts as subprocesses of a test or a benchmark."""

import os
import signal
import sys
from pathlib import Path

import pytest

from loadgen.errors import LoadgenError
from loadgen.stack.group import PartGroup
from loadgen.stack.plan import HOST, Part
from loadgen.stack.ports import free_port

READY_AFTER_TWO = """
import http.server, sys
asked = 0
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global asked
        asked += 1
        self.send_response(200 if asked > 2 else 503)
        self.end_headers()
        self.wfile.write(b"starting")
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def sleeper(name: str = "sleeper") -> Part:
    """A part that does nothing for ten minutes."""
    return Part(name, ("sleep", "600"))


def python(name: str, code: str, *arguments: str, ready_url: str | None = None) -> Part:
    """A part that runs some Python."""
    return Part(name, (sys.executable, "-c", code, *arguments), {"GREETING": "hello"}, ready_url=ready_url)


async def test_parts_end_with_the_block(tmp_path: Path) -> None:
    """However the block is left, no part is left running."""
    pids = []

    async def fail() -> None:
        async with PartGroup(tmp_path, os.environ) as group:
            await group.start([sleeper("one"), sleeper("two")])
            pids.extend([group.pid("one"), group.pid("two")])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert len(pids) == 2
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def test_start_waits_until_ready(tmp_path: Path) -> None:
    """A part with a ready URL is waited for until the answer is 200."""
    port = free_port()
    url = f"http://{HOST}:{port}/readyz"
    async with PartGroup(tmp_path, os.environ) as group:
        await group.start([python("server", READY_AFTER_TWO, str(port), ready_url=url)])
        assert group.log("server").count("503") == 2


async def test_a_part_that_is_never_ready_is_named(tmp_path: Path) -> None:
    """Waiting is bounded; the error names the part, its last answer and its output."""
    url = f"http://{HOST}:{free_port()}/readyz"
    part = python("slow", "import time; print('thinking', flush=True); time.sleep(600)", ready_url=url)
    async with PartGroup(tmp_path, os.environ) as group:
        with pytest.raises(LoadgenError, match="slow not ready after 1 s") as caught:
            await group.start([part], ready_timeout_s=1)
    assert "Connect" in str(caught.value)
    assert "thinking" in str(caught.value)


async def test_a_part_that_dies_while_starting_is_named(tmp_path: Path) -> None:
    """A part that ends before it is ready fails the start at once, with its last words."""
    url = f"http://{HOST}:{free_port()}/readyz"
    part = python("broken", "raise SystemExit('no settings')", ready_url=url)
    async with PartGroup(tmp_path, os.environ) as group:
        with pytest.raises(LoadgenError, match=r"broken ended with 1:\nno settings"):
            await group.start([sleeper(), part])


async def test_a_part_gets_its_environment(tmp_path: Path) -> None:
    """The environment of the part comes on top of the given one."""
    async with PartGroup(tmp_path, {**os.environ, "GREETING": "no", "NAME": "you"}) as group:
        await group.start([python("say", "import os; print(os.environ['GREETING'], os.environ['NAME'])")])
        assert await group.wait("say") == 0
        assert group.log("say") == "hello you\n"


async def test_a_frozen_part_can_be_stopped(tmp_path: Path) -> None:
    """A part that was stopped with SIGSTOP still ends with the group."""
    async with PartGroup(tmp_path, os.environ) as group:
        await group.start([sleeper()])
        group.signal("sleeper", signal.SIGSTOP)
        assert await group.stop("sleeper") == -signal.SIGTERM


async def test_a_part_can_be_started_again(tmp_path: Path) -> None:
    """After its end a part may be started under the same name, as a restart would."""
    async with PartGroup(tmp_path, os.environ) as group:
        await group.start([sleeper()])
        first = group.pid("sleeper")
        group.signal("sleeper", signal.SIGKILL)
        assert await group.wait("sleeper") == -signal.SIGKILL
        await group.start([sleeper()])
        assert group.pid("sleeper") != first

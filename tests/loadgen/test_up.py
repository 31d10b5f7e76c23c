"""`loadgen up` as a person runs it: whole processes, a real Redis."""

import asyncio
import json
import os
import shutil
import signal
import socket
from pathlib import Path

import pytest
import websockets

from loadgen.stack.plan import HOST
from tests.loadgen.command import Command, free_offset, running

pytestmark = pytest.mark.system

WITHOUT_REDIS = {"PATH": "", "REDIS_URL": ""}


async def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    """A taken port gives exit code 1 and one line with port, purpose and way out; nothing has been started."""
    offset = free_offset()
    env = {"TMPDIR": str(tmp_path), "REDIS_URL": ""}
    with socket.create_server((HOST, 8011 + offset)):
        async with running("-m", "loadgen", "up", "--port-offset", str(offset), env=env) as command:
            code = await command.end()
    assert (code, command.output) == (1, "")
    assert command.errors.count("\n") == 1
    assert f"{8011 + offset} (links to gateway-2)" in command.errors
    assert f"--port-offset {offset + 1000}" in command.errors
    assert os.listdir(tmp_path) == []


async def test_everything_runs_and_nothing_is_left(tmp_path: Path) -> None:
    """Without Redis installed one command brings the platform up, the printed curl line reaches viewers on both
    gateways, and Ctrl-C leaves neither a process nor a file."""
    offset = free_offset()
    env = {**WITHOUT_REDIS, "TMPDIR": str(tmp_path), "DANMAKU_DEV_KEY": "a-stable-key-for-this-test"}
    async with running("-m", "loadgen", "up", "--port-offset", str(offset), env=env) as command:
        await command.line_with("danmaku-push is up")
        curl = await command.line_with("curl ")
        assert "a-stable-key-for-this-test" in curl
        await command.line_with("Ctrl-C stops everything")
        await _push_reaches_both_gateways(curl, offset)
        await _has_demo(offset)
        command.process.send_signal(signal.SIGINT)
        code = await command.end()
    assert code == 0, command.output
    assert len(command.part_pids) == 5
    assert command.surviving_groups() == []
    assert os.listdir(tmp_path) == []
    _ended_well(command)


def _ended_well(command: Command) -> None:
    """Every part ended by itself, none had to be killed."""
    assert command.output.count("stopped (rc=0)") == 5, command.output


async def _push_reaches_both_gateways(curl: str, offset: int) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    urls = [f"ws://{HOST}:{port + offset}/ws" for port in (8000, 8010)]
    async with websockets.connect(urls[0]) as first, websockets.connect(urls[1]) as second:
        for viewer in (first, second):
            await viewer.send(json.dumps({"type": "JOIN", "data": {"room": "live"}}))
            await _receive(viewer, '"JOINED"')
        paste = await asyncio.create_subprocess_shell(curl, stdout=asyncio.subprocess.PIPE, env=dict(os.environ))
        answer, _ = await paste.communicate()
        assert json.loads(answer)["accepted"] == 1
        for viewer in (first, second):
            await _receive(viewer, "hello from curl")


async def _has_demo(offset: int) -> None:
    """The demo publisher makes the rooms lively by itself."""
    async with websockets.connect(f"ws://{HOST}:{8000 + offset}/ws") as viewer:
        await viewer.send(json.dumps({"type": "JOIN", "data": {"room": "42"}}))
        await _receive(viewer, '"demo-')


async def _receive(viewer: websockets.ClientConnection, text: str) -> None:
    async with asyncio.timeout(30):
        while text not in str(await viewer.recv()):
            pass

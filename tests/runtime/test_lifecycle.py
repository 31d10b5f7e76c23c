"""The life of a process, seen from outside: signals, deadline, exit code."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from runtime.lifecycle import Background, StartError, listening
from runtime.logs import get_logger

Launch = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def launch() -> Iterator[Launch]:
    """Start processes that are gone after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(mode: str, port: int = 0) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.runtime.lifecycle_process", mode, str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def wait_for(process: subprocess.Popen[str], word: str) -> None:
    """Read what the process says up to this word."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == word:
            return
    pytest.fail(f"the process ended without saying {word}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains_then_stops(launch: Launch, number: signal.Signals) -> None:
    """SIGTERM and SIGINT drain, then stop, and exit 0 when that was in time."""
    process = launch("well")
    wait_for(process, "started")
    process.send_signal(number)
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out.split()) == (0, ["draining", "stopping"])
    assert number.name in err


@pytest.mark.parametrize("mode", ["hang-in-drain", "block-in-drain"])
def test_an_overrun_exits_1_in_bounded_time(launch: Launch, mode: str) -> None:
    """A drain that never ends, swallows cancellation or blocks the loop costs the deadline, no more, and exit 1."""
    process = launch(mode)
    wait_for(process, "started")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=10)
    assert process.returncode == 1


def test_a_drain_that_hangs_does_not_take_stop_with_it(launch: Launch) -> None:
    """Stop has its turn though drain overran."""
    process = launch("hang-in-drain")
    wait_for(process, "started")
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert "stopping" in out.split()
    assert "deadline overrun" in err


def test_a_second_signal_ends_at_once(launch: Launch) -> None:
    """The second signal does not wait for the deadline."""
    process = launch("hang-in-drain")
    wait_for(process, "started")
    process.send_signal(signal.SIGTERM)
    wait_for(process, "draining")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=10)
    assert process.returncode == 128 + signal.SIGINT


def test_a_signal_during_the_start(launch: Launch) -> None:
    """A process that is asked to stop while it starts gives the start up, stops, and exits 0."""
    process = launch("hang-in-start")
    wait_for(process, "starting")
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert (process.returncode, "stopping" in out) == (0, True)


def test_a_task_that_dies_ends_the_process(launch: Launch) -> None:
    """A background task that dies is logged, and the process leaves in order with exit code 1."""
    process = launch("task-dies")
    out, err = process.communicate(timeout=10)
    assert (process.returncode, out.split()[-2:]) == (1, ["draining", "stopping"])
    assert "died of itself" in err
    assert "doomed" in err


def test_a_taken_port_is_one_line(launch: Launch) -> None:
    """A start that fails for a known reason logs one line that names it, without a traceback, and exits 1."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = launch("well", port)
        out, err = process.communicate(timeout=10)
    assert (process.returncode, "stopping" in out) == (1, True)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in err
    assert "Traceback" not in err


def test_a_bug_in_the_start_keeps_its_traceback(launch: Launch) -> None:
    """A start that fails for no known reason shows where."""
    process = launch("bug-in-start")
    _, err = process.communicate(timeout=10)
    assert process.returncode == 1
    assert "LookupError: a bug" in err
    assert "Traceback" in err


async def test_background_reports_and_cancels() -> None:
    """A task's death reaches the callback and the event; the others end with cancel()."""
    errors: list[BaseException] = []
    background = Background(get_logger("test"), errors.append)

    async def fail() -> None:
        raise ValueError("boom")

    waiting = background.spawn(asyncio.Event().wait(), "waits")
    background.spawn(fail(), "fails")
    await asyncio.wait_for(background.failed.wait(), 5)
    assert [str(error) for error in errors] == ["boom"]
    await background.cancel()
    assert waiting.cancelled()
    assert len(errors) == 1


def test_listening_names_host_and_port() -> None:
    """An OSError while a listener opens becomes a sentence with host, port and reason."""
    with pytest.raises(StartError, match="cannot listen on example:99: Permission denied"), listening("example", 99):
        raise PermissionError(13, "anything")

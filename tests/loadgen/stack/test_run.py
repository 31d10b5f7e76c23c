"""Running parts side by side, with real processes: how they end, and that nothing is left."""

import asyncio
import json
import signal
import sys

import pytest

from loadgen.stack.manager import IMPATIENCE_S
from tests.loadgen.command import Command, running

SLEEPER = ["sleep", "600"]
SHOWS_TEXT = [sys.executable, "-c", "import os, time; os.write(1, '前排!\\n'.encode()); time.sleep(600)"]
DEAF = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)",
]


def parts(**commands: list[str]) -> tuple[str, ...]:
    """Return the arguments that run these commands as parts."""
    return ("-m", "tests.loadgen.stack.parts_process", json.dumps(commands))


def python(code: str) -> list[str]:
    """Return a command that runs a line of Python."""
    return [sys.executable, "-c", code]


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [
        ("raise SystemExit(3)", 3, "broken ended with exit code 3"),
        ("raise SystemExit(0)", 1, "broken ended with exit code 0"),
        ("import os; os.kill(os.getpid(), 9)", 137, "broken ended with signal SIGKILL"),
    ],
)
async def test_a_part_that_ends_ends_all(code: str, exit_code: int, said: str) -> None:
    """When one part ends, all end, and exit code and message say which part it was."""
    async with running(*parts(one=SLEEPER, broken=python(code), two=SLEEPER)) as command:
        assert await command.end() == exit_code
    assert said in command.errors
    assert len(command.part_pids) == 3
    assert command.surviving_groups() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_everything(number: signal.Signals) -> None:
    """Ctrl-C, SIGTERM and a closed window stop all parts, which is a success."""
    async with running(*parts(one=SLEEPER, two=SLEEPER)) as command:
        await command.line_with("ALL READY")
        command.process.send_signal(number)
        code = await command.end()
    assert code == 0
    assert command.errors == ""
    assert len(command.part_pids) == 2
    assert command.surviving_groups() == []


async def test_a_signal_during_the_start_is_kept() -> None:
    """A signal that comes before every part has started stops all of them once they have."""
    async with running(*parts(**{f"part{number}": SLEEPER for number in range(6)})) as command:
        await command.line_with("started")
        command.process.send_signal(signal.SIGINT)
        code = await command.end()
    assert code == 0
    assert len(command.part_pids) == 6
    assert command.surviving_groups() == []


async def test_an_impatient_second_signal_kills() -> None:
    """A part that does not listen to SIGTERM is killed when a person insists."""
    async with running(*parts(stubborn=DEAF)) as command:
        await command.line_with("deaf")
        command.process.send_signal(signal.SIGINT)
        # The rule is about time: a signal that comes at once is the same Ctrl-C, not a second one.
        await asyncio.sleep(IMPATIENCE_S * 1.5)
        command.process.send_signal(signal.SIGINT)
        code = await command.end()
    assert code == 0
    assert "stubborn stopped (rc=-9)" in command.output
    assert command.surviving_groups() == []


async def test_losing_the_reader_stops_everything() -> None:
    """When nobody can read the output any more (a closed pipe), the parts do not stay behind."""
    async with running(*parts(one=SLEEPER, talker=python("import time\nwhile True: print('x'); time.sleep(0.01)"))) as (
        command
    ):
        await command.line_with("talker started")
        await _read_all_started(command, 2)
        _close_output(command)
        assert await command.process.wait() == 0
    assert command.surviving_groups() == []


async def _read_all_started(command: Command, count: int) -> None:
    while len(command.part_pids) < count:
        await command.line_with("started")


def _close_output(command: Command) -> None:
    transport = command.process._transport  # type: ignore[attr-defined]  # the only way to close one pipe
    transport.get_pipe_transport(1).close()


async def test_output_is_labelled_with_the_part() -> None:
    """Each line says which part printed it; what is printed for the person has no label."""
    async with running(*parts(first=SHOWS_TEXT, second=SLEEPER)) as command:
        labelled = await command.line_with("前排!")
        while "ALL READY" not in command.output:
            await command.line_with("ALL READY")
        command.process.send_signal(signal.SIGINT)
        await command.end()
    assert labelled.split(" ", 1)[1].replace(" ", "") == "first|前排!"
    assert "ALL READY" in command.lines


async def test_text_that_the_terminal_cannot_show_is_no_failure() -> None:
    """A part may print characters that the encoding of the output lacks."""
    async with running(*parts(first=SHOWS_TEXT), env={"PYTHONIOENCODING": "ascii:strict"}) as command:
        assert "\\u" in await command.line_with("first  |")
        command.process.send_signal(signal.SIGINT)
        assert await command.end() == 0

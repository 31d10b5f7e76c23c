"""The command line: help that teaches, and wrong usage."""

import pytest
from click.testing import CliRunner

from loadgen.cli import cli


def run(*arguments: str) -> tuple[int, str]:
    """Run the command line in memory, without a key in the environment; returns exit code and all output."""
    result = CliRunner(env={"LOADGEN_API_KEY": None}).invoke(cli, arguments, prog_name="loadgen")
    return result.exit_code, result.output


@pytest.mark.parametrize("command", [(), ("up",), ("demo",)])
def test_help_has_examples(command: tuple[str, ...]) -> None:
    """Each help text ends a newcomer's search with commands to copy."""
    code, text = run(*command, "--help")
    assert code == 0
    assert "Examples:\n" in text
    assert f"  {' '.join(('loadgen', *command))} " in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up", "--gateways", "11"), "--gateways"),
        (("up", "--port-offset", "-1"), "--port-offset"),
        (("demo",), "LOADGEN_API_KEY"),
        (("demo", "--key", "k", "--room", "no room"), "'no room': room: must be 1 to 128 characters"),
        (("demo", "--key", "k", "--rate", "0"), "--rate"),
        (("dmeo",), "dmeo"),
    ],
)
def test_wrong_usage_exits_2_and_names_the_culprit(arguments: tuple[str, ...], said: str) -> None:
    """Wrong usage is exit code 2, and the message names the option, its limit or the missing variable."""
    code, text = run(*arguments)
    assert code == 2
    assert said in text

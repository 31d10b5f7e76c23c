"""The wire reference says what the code does."""

import json
import re
from pathlib import Path

import pytest

import protocol
from protocol import envelope
from protocol.codes import CLOSES, ERRORS
from protocol.json_dialect import JsonDialect
from protocol.limits import ENVELOPE_MAX_BYTES

README = Path(protocol.__file__).with_name("README.md").read_text(encoding="utf-8")


def table(header: str) -> list[list[str]]:
    """Return the rows of the table with this header."""
    lines = README.split("\n")
    start = lines.index(header) + 2
    rows: list[list[str]] = []
    for line in lines[start:]:
        if not line.startswith("|"):
            break
        rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows


def yes_or_no(value: bool) -> str:
    """Write a flag as the tables do."""
    return "yes" if value else "no"


def test_error_codes() -> None:
    """The table of error codes is `protocol.codes.ERRORS`."""
    rows = [[f"`{code}`", str(i.status), yes_or_no(i.may_retry), i.meaning] for code, i in ERRORS.items()]
    assert table("| code | HTTP status | may retry | meaning |") == rows


def test_close_codes() -> None:
    """The table of close codes is `protocol.codes.CLOSES`."""
    rows = [[str(int(code)), code.name, yes_or_no(i.may_reconnect), i.meaning] for code, i in CLOSES.items()]
    assert table("| code | name | may reconnect | meaning |") == rows


def test_kinds_of_envelopes() -> None:
    """The table of kinds has every kind with its number."""
    kinds = {name: number for number, name, *_ in table("| kind | name | from | body |")}
    expected = {"Hello", "RoomPush", "Broadcast", "UserPush", "SubmitResult", "Totals", "Ack", "Submit", "Counts"}
    assert set(kinds) == expected
    for name, number in kinds.items():
        constant = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).upper()
        assert int(number) == getattr(envelope, constant)


def test_the_limit_of_an_envelope() -> None:
    """The limit in the text is the limit in the code."""
    assert f"2 to {ENVELOPE_MAX_BYTES:,}" in README


@pytest.mark.parametrize("line", re.findall(r"^    [><] (.*)$", README, re.MULTILINE))
def test_examples_are_json(line: str) -> None:
    """Every example is one message of the dialect."""
    assert set(json.loads(line)) == {"type", "data"}


def test_examples_of_commands() -> None:
    """The examples of commands are understood, but for the one that shows an error."""
    commands = re.findall(r"^    > (.*)$", README, re.MULTILINE)
    assert [line for line in commands if '"4 2"' not in line]
    for line in commands:
        if '"4 2"' not in line:
            JsonDialect().decode_command(line.encode())


def test_every_file_is_on_the_map() -> None:
    """The map names every module of the package."""
    folder = Path(protocol.__file__).parent
    for path in [*folder.glob("*.py"), *folder.glob("websocket/*.py")]:
        assert path.name == "__init__.py" or f"`{path.name}`" in README

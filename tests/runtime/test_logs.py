"""Logs: one line an event, in one format for everybody."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from runtime.logs import LogFormat, configure_logging, get_logger


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    """Leave the logging of the test run as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def logged(stream: io.StringIO) -> list[dict[str, Any]]:
    """Return the JSON lines of the stream."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_are_one_json_line_each() -> None:
    """Away from a terminal each event is one line of JSON with time, level, component, event and fields."""
    stream = io.StringIO()
    configure_logging("info", "auto", stream)
    get_logger("demo").info("opened", port=8000, name="a\nb", odd={1, 2})
    (line,) = logged(stream)
    assert list(line)[:4] == ["timestamp", "level", "component", "event"]
    assert (line["level"], line["component"], line["event"]) == ("info", "demo", "opened")
    assert (line["port"], line["name"]) == (8000, "a\nb")


def test_library_logs_share_the_format() -> None:
    """What a library logs through the standard module comes out in the same form."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    logging.getLogger("some.package").warning("lost %s of %d", "one", 2)
    (line,) = logged(stream)
    assert (line["level"], line["component"], line["event"]) == ("warning", "some.package", "lost one of 2")


def test_tracebacks_show_no_values() -> None:
    """On a terminal a traceback names lines and the error, and never what a variable held: it may be a token."""
    stream = Terminal()
    configure_logging("info", "auto", stream)
    token = "-".join(("very", "secret"))
    try:
        raise ValueError(len(token))
    except ValueError:
        get_logger("demo").exception("broken")
    assert "ValueError" in stream.getvalue()
    assert token not in stream.getvalue()


def test_exceptions_stay_on_one_line() -> None:
    """A traceback is a field of the event, not further lines."""
    stream = io.StringIO()
    configure_logging("info", "json", stream)
    try:
        raise ValueError("broken")
    except ValueError as error:
        get_logger("demo").error("failed", exc_info=error)
        logging.getLogger("library").exception("failed too")
    for line in logged(stream):
        assert "ValueError: broken" in line["exception"]
    assert len(logged(stream)) == 2


def test_level_is_a_lower_bound_for_everybody() -> None:
    """Events below the level are dropped, ours and the libraries'."""
    stream = io.StringIO()
    configure_logging("warning", "json", stream)
    get_logger("demo").info("quiet")
    logging.getLogger("library").info("quiet")
    get_logger("demo").warning("loud")
    assert [line["event"] for line in logged(stream)] == ["loud"]


@pytest.mark.parametrize(
    ("format", "stream", "json_expected"),
    [
        ("auto", io.StringIO(), True),
        ("auto", Terminal(), False),
        ("json", Terminal(), True),
        ("console", io.StringIO(), False),
    ],
)
def test_format_follows_the_stream(format: LogFormat, stream: io.StringIO, json_expected: bool) -> None:
    """auto is JSON unless the stream is a terminal; json and console are what they say."""
    configure_logging("info", format, stream)
    get_logger("demo").info("hello", n=1)
    assert stream.getvalue().startswith("{") is json_expected
    assert "hello" in stream.getvalue()


def test_configuring_again_replaces() -> None:
    """A logger made before the configuration follows the latest one."""
    logger = get_logger("early")
    first, second = io.StringIO(), io.StringIO()
    configure_logging("info", "json", first)
    configure_logging("info", "json", second)
    logger.info("hello")
    assert first.getvalue() == ""
    assert [line["event"] for line in logged(second)] == ["hello"]

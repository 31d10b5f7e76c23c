"""Structured logs: one line an event, ours and the libraries' in one format.

JSON when nobody is watching (the stream is not a terminal), aligned and coloured text when somebody is.
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any, Literal, TextIO, cast

import orjson
import structlog

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "json", "console"]
LogLevel = Literal["debug", "info", "warning", "error"]
Logger = structlog.stdlib.BoundLogger


def get_logger(component: str) -> Logger:
    """Return the logger of a component; the name appears in every line as `component`.

    May be called before `configure_logging`: the configuration is looked up when a line is written.
    """
    return structlog.stdlib.get_logger(component)


def configure_logging(level: str, format: LogFormat = "auto", stream: TextIO | None = None) -> None:
    """Send the logs of this process to `stream` (standard error unless told) from now on.

    Calling it again replaces the earlier configuration. Levels: debug, info, warning, error.
    """
    target = sys.stderr if stream is None else stream
    json = format == "json" or (format == "auto" and not target.isatty())
    shared = _shared_processors()
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderer(json, target)],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _shared_processors() -> list[Processor]:
    return [
        structlog.stdlib.add_log_level,
        _add_component,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]


def _renderer(json: bool, target: TextIO) -> list[Processor]:
    if json:
        return [structlog.processors.format_exc_info, _render_json]
    # The plain traceback: the default one prints local variables, and with them tokens and keys.
    plain = structlog.dev.plain_traceback
    return [structlog.dev.ConsoleRenderer(colors=target.isatty(), exception_formatter=plain)]


def _add_component(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Name the origin of a line alike for our loggers and for the libraries'."""
    record = cast("logging.LogRecord | None", event.get("_record"))
    event.setdefault("component", record.name if record is not None else logger.name)
    return event


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    """Write the line as JSON, time and level first, so that lines read alike to people too."""
    ordered: dict[str, Any] = {
        key: event.pop(key) for key in ("timestamp", "level", "component", "event") if key in event
    }
    ordered.update(event)
    return orjson.dumps(ordered, default=repr, option=orjson.OPT_NON_STR_KEYS).decode()

"""Puts the push API together."""

import logging
from collections.abc import Sequence
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from logic.api import bulk, legacy, push
from logic.api.bulk import BulkCalls
from logic.api.docs import DocsCalls
from logic.api.front import make_front
from logic.api.intake import leave_expectation
from logic.api.keys import ApiKey, KeyRing
from logic.api.legacy import LegacyCalls
from logic.api.metrics import ApiMetrics
from logic.api.options import ApiOptions
from logic.api.push import PushCalls
from logic.api.reads import ReadCalls
from logic.model import Overview, Publishing
from protocol.limits import PUSH_MAX_BYTES

_HTTP_LOG: Final = logging.getLogger("logic.api.http")

KEEPALIVE_S: Final = 75.0
"""A publisher's idle connection: longer than the usual 60 s of a proxy's pool, so that the proxy closes first."""

LINGERING_S: Final = 2.0
"""After an answer that left a body unread, what still arrives is read and dropped for this long: the client sees the
answer instead of a reset."""


def make_api(
    publishing: Publishing,
    overview: Overview,
    *,
    keys: Sequence[ApiKey],
    options: ApiOptions,
    metrics: ApiMetrics,
) -> web.Application:
    """Return the application; raise ValueError when one key is listed twice. Serve it with `make_runner`."""
    ring = KeyRing(keys)
    app = web.Application(middlewares=[make_front(metrics)], client_max_size=PUSH_MAX_BYTES)
    pushes = PushCalls(publishing, ring, metrics, options)
    old = LegacyCalls(publishing, ring, metrics, options)
    streams = BulkCalls(publishing, ring, metrics, options)
    reads = ReadCalls(overview, ring)
    docs = DocsCalls(options.version)
    posts = {
        _segments(push.ROOM_PATH): pushes.to_room,
        _segments(push.USER_PATH): pushes.to_user,
        push.BROADCAST_PATH: pushes.to_everybody,
        bulk.PATH: streams.publish,
        legacy.ROOM_PATH: old.to_room,
        legacy.EVERYBODY_PATH: old.to_everybody,
    }
    gets = {
        "/v1/rooms": reads.rooms,
        _segments("/v1/rooms/{room}"): reads.room,
        "/v1/gateways": reads.gateways,
        "/v1/stats": reads.stats,
        "/openapi.json": docs.openapi,
        "/docs": docs.page,
        "/docs/{asset}": docs.asset,
    }
    for path, post in posts.items():
        app.router.add_post(path, post, expect_handler=leave_expectation)
    for path, get in gets.items():
        app.router.add_get(path, get)
    app.on_shutdown.append(streams.close)
    return app


def make_runner(app: web.Application, *, shutdown_s: float = 10.0) -> web.AppRunner:
    """Return what serves the application.

    aiohttp's access log stays off: it would write the query string. Bodies are not decompressed: a coded body is
    refused by its header, and must not cost anything before that.
    """
    _HTTP_LOG.addFilter(_bad_http_is_no_news)
    return web.AppRunner(
        app,
        logger=_HTTP_LOG,
        access_log=None,
        auto_decompress=False,
        handle_signals=False,
        keepalive_timeout=KEEPALIVE_S,
        lingering_time=LINGERING_S,
        shutdown_timeout=shutdown_s,
    )


def _bad_http_is_no_news(record: logging.LogRecord) -> bool:
    """Keep scanners from filling the log: bytes that are no HTTP are one quiet line, without a traceback."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError):
        record.exc_info = None
        record.levelno, record.levelname = logging.DEBUG, "DEBUG"
        record.msg = f"{record.msg}: {type(error).__name__}"
        return _HTTP_LOG.isEnabledFor(logging.DEBUG)
    return True


def _segments(template: str) -> str:
    """Let a name in a path hold anything but a slash: what is outside the grammar is then refused as that, with 422."""
    return template.replace("{room}", "{room:[^/]+}").replace("{user}", "{user:[^/]+}")

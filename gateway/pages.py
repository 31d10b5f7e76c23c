"""The static pages of the gateway.

The demo page is at `/`, the browser client at `/client.js` with its modules under `/client/`, the rest at `/static/`.

Every file is read once, when the application is made, and served from memory by its exact name: a path that was not
read then does not exist, so no request can walk out of the folder.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from aiohttp import ETag, web

CONTENT_TYPES: Final = MappingProxyType(
    {
        ".html": "text/html",
        ".js": "text/javascript",
        ".css": "text/css",
        ".svg": "image/svg+xml",
        ".txt": "text/plain",
    }
)
"""What is served, by suffix; a file with another suffix (a README, an editor's backup) is not."""

CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        # Any WebSocket host: the page can be pointed at the other gateways, which it learns from its own URL.
        "connect-src 'self' ws: wss:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        # The browser itself refuses innerHTML and its kin, so a danmaku's text can never become markup.
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)

_HEADERS: Final = MappingProxyType(
    {
        "Cache-Control": "no-cache",
        "Content-Security-Policy": CONTENT_SECURITY_POLICY,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
)

# A module script of another origin is fetched with CORS: without this only the gateway's own pages could import it.
_SHARED_HEADERS: Final = MappingProxyType(
    {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
)

_WEB: Final = Path(__file__).parent / "web"
_WEBSOCKET_PATHS: Final = ("/ws", "/connect")
_NOT_FOUND: Final = "Not found. The demo page is at /, its client at /client.js, the WebSocket at /ws.\n"
_UPGRADE_REQUIRED: Final = "This is a WebSocket address: connect with ws:// or wss:// (RFC 6455).\n"

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Page:
    """One file as it is served; `etag` is a digest of `body`, so it changes exactly when the file does."""

    body: bytes
    content_type: str
    etag: str


def make_pages() -> web.Application:
    """Make the application that answers every HTTP request of the client port that is not an upgrade.

    Answers carry `Cache-Control: no-cache` and an ETag, so a browser asks again each time and mostly gets a 304.
    A missing file gets a 404, a plain request to a WebSocket path a 426, both in plain text.
    """
    app = web.Application(middlewares=[_plain_errors])
    files = dict(_read_files(_WEB))
    app.router.add_get("/", _serve(files.pop("index.html")))
    for name, page in files.items():
        if name.startswith("client"):
            app.router.add_get(f"/{name}", _serve(page, _SHARED_HEADERS))
        else:
            app.router.add_get(f"/static/{name}", _serve(page))
    for path in _WEBSOCKET_PATHS:
        app.router.add_get(path, _upgrade_required)
    app.on_response_prepare.append(_add_headers)
    return app


def _read_files(folder: Path) -> Iterator[tuple[str, Page]]:
    for path in sorted(folder.rglob("*")):
        content_type = CONTENT_TYPES.get(path.suffix)
        if content_type is not None and path.is_file():
            body = path.read_bytes()
            etag = hashlib.sha256(body).hexdigest()[:32]
            yield path.relative_to(folder).as_posix(), Page(body, content_type, etag)


def _serve(page: Page, extra_headers: MappingProxyType[str, str] = MappingProxyType({})) -> _Handler:
    async def serve(request: web.Request) -> web.StreamResponse:
        known = request.if_none_match or ()
        if any(tag.value in (page.etag, "*") for tag in known):
            response = web.Response(status=304, headers=extra_headers)
        else:
            response = web.Response(
                body=page.body, content_type=page.content_type, charset="utf-8", headers=extra_headers
            )
        response.etag = ETag(page.etag)
        return response

    return serve


async def _upgrade_required(_: web.Request) -> web.StreamResponse:
    headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
    return web.Response(status=426, text=_UPGRADE_REQUIRED, headers=headers)


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)


@web.middleware
async def _plain_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPNotFound:
        return web.Response(status=404, text=_NOT_FOUND)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        text = f"{request.method} is not allowed here, only {allowed}.\n"
        return web.Response(status=405, text=text, headers={"Allow": allowed})

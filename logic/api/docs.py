"""The OpenAPI document and a page to try the calls on. Everything is served from here: the page asks no other host."""

from typing import Final

import msgspec
from aiohttp import web
from swagger_ui_bundle import swagger_ui_path

from logic.api.openapi import make_document

_PAGE: Final = b"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Push API</title>
<link rel="icon" href="docs/favicon-32x32.png">
<link rel="stylesheet" href="docs/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script type="module" src="docs/start.js"></script>
</body>
</html>
"""

# The bundled Swagger UI knows OpenAPI 3.0 only and refuses other numbers unread; our document uses no word of 3.1
# that it would have to understand (a test watches over that).
_START: Final = b"""const answer = await fetch("openapi.json");
const spec = await answer.json();
spec.openapi = "3.0.3";
SwaggerUIBundle({ spec, dom_id: "#swagger-ui", deepLinking: false, persistAuthorization: false });
"""

_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'"
)
_ASSETS: Final = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}


class DocsCalls:
    """Handlers that need no key."""

    def __init__(self, version: str) -> None:
        self._document = msgspec.json.encode(make_document(version))

    async def openapi(self, request: web.Request) -> web.Response:
        """GET /openapi.json."""
        return web.Response(body=self._document, content_type="application/json")

    async def page(self, request: web.Request) -> web.Response:
        """GET /docs."""
        return web.Response(
            body=_PAGE,
            content_type="text/html",
            charset="utf-8",
            headers={"Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff"},
        )

    async def asset(self, request: web.Request) -> web.StreamResponse:
        """GET /docs/{asset}."""
        name = request.match_info["asset"]
        if name == "start.js":
            return web.Response(body=_START, content_type="text/javascript", charset="utf-8")
        if name not in _ASSETS:
            raise web.HTTPNotFound
        return web.FileResponse(swagger_ui_path / name, headers={"Content-Type": _ASSETS[name]})

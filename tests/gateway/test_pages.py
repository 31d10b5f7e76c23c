"""The gateway's static pages: types, headers, caching, and what is refused."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from aiohttp import ClientSession, hdrs, web
from aiohttp.test_utils import TestClient, TestServer
from yarl import URL

import gateway.pages
from gateway.pages import CONTENT_TYPES, make_pages

WEB = Path(gateway.pages.__file__).parent / "web"
FILES = {path: path.read_bytes() for path in sorted(WEB.rglob("*")) if path.suffix in CONTENT_TYPES}

Client = TestClient[web.Request, web.Application]


@pytest_asyncio.fixture
async def client() -> AsyncIterator[Client]:
    """Serve the pages on a free port."""
    async with TestClient(TestServer(make_pages())) as client:
        yield client


def address(path: Path) -> str:
    """Tell under which path a file is served."""
    name = path.relative_to(WEB).as_posix()
    if name == "index.html":
        return "/"
    return f"/{name}" if name.startswith("client") else f"/static/{name}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
async def test_every_file_is_served(client: Client, path: Path) -> None:
    """Every page file is served unchanged under its address, with the content type of its suffix, as UTF-8."""
    async with client.get(address(path)) as response:
        assert response.status == 200
        assert await response.read() == FILES[path]
        assert response.headers["Content-Type"] == f"{CONTENT_TYPES[path.suffix]}; charset=utf-8"


@pytest.mark.parametrize("path", ["/", "/client.js", "/static/demo.css", "/nowhere", "/ws"])
async def test_every_answer_is_guarded(client: Client, path: str) -> None:
    """Every answer, errors included, forbids foreign and inline code, sniffing and unasked caching."""
    async with client.get(path) as response:
        policy = dict(part.split(" ", 1) for part in response.headers["Content-Security-Policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["img-src"] == "'self'"
        assert policy["require-trusted-types-for"] == "'script'"
        assert "unsafe" not in response.headers["Content-Security-Policy"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-cache"


async def test_etag_saves_the_second_transfer(client: Client) -> None:
    """A browser that shows the ETag it was given gets 304 without a body; another ETag gets the file."""
    async with client.get("/client.js") as first:
        etag = first.headers["ETag"]
    async with client.get("/client.js", headers={"If-None-Match": f'"older", W/{etag}'}) as second:
        assert (second.status, await second.read(), second.headers["ETag"]) == (304, b"", etag)
        assert second.headers["Access-Control-Allow-Origin"] == "*"
    async with client.get("/client.js", headers={"If-None-Match": '"older"'}) as third:
        assert third.status == 200


async def test_head_has_no_body(client: Client) -> None:
    """HEAD gives the headers of GET and no body (RFC 9110, section 9.3.2)."""
    async with client.head("/client.js") as response:
        assert (response.status, await response.read()) == (200, b"")
        assert int(response.headers["Content-Length"]) == len(FILES[WEB / "client.js"])


@pytest.mark.parametrize("path", ["/client.js", "/client/rules.js"])
async def test_other_origins_may_import_the_client(client: Client, path: str) -> None:
    """The client's modules can be imported by pages of other origins; the demo's own files cannot be read by them."""
    async with client.get(path) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    async with client.get("/static/demo.js") as response:
        assert "Access-Control-Allow-Origin" not in response.headers


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/static",
        "/static/",
        "/static/README.md",
        "/static/vendor/README.md",
        "/static/client.js",
        "/static/../pages.py",
        "/static/..%2fpages.py",
        "/static/%2e%2e/pages.py",
        "/static/vendor/..%5c..%5cpages.py",
        "/static//etc/passwd",
        "/static/demo.js%00",
        "/client/../../pages.py",
    ],
)
async def test_what_is_not_a_page_is_not_found(client: Client, path: str) -> None:
    """A path that is no page, or tries to leave the folder, gets a plain 404 that says what there is."""
    url = URL(f"{str(client.make_url('/')).rstrip('/')}{path}", encoded=True)
    async with ClientSession() as session, session.get(url) as response:
        assert response.status == 404
        assert response.content_type == "text/plain"
        assert await response.text() == (
            "Not found. The demo page is at /, its client at /client.js, the WebSocket at /ws.\n"
        )


@pytest.mark.parametrize("path", ["/ws", "/connect"])
async def test_plain_request_to_a_websocket_path(client: Client, path: str) -> None:
    """A request to a WebSocket path that asks for no upgrade is told to (RFC 9110, section 15.5.22)."""
    async with client.get(path) as response:
        assert response.status == 426
        assert response.headers[hdrs.UPGRADE] == "websocket"
        assert "WebSocket" in await response.text()


async def test_other_methods_are_refused(client: Client) -> None:
    """A method that a page does not have gets a plain 405 that names the ones it has."""
    async with client.post("/client.js", data=b"x") as response:
        assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")
        assert await response.text() == "POST is not allowed here, only GET, HEAD.\n"

"""The contract and the page to try it on."""

import pytest
from playwright.async_api import Error as BrowserError
from playwright.async_api import async_playwright

from tests.logic.api.conftest import Api

CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
]


async def test_the_contract_needs_no_key(api: Api) -> None:
    """/openapi.json is open, and carries the version it was given."""
    async with api.session.get(f"{api.url}/openapi.json") as answer:
        assert answer.status == 200
        document = await answer.json()
    assert document["openapi"].startswith("3.1")
    assert document["info"]["version"] == "1.2.3"


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/docs", "text/html; charset=utf-8"),
        ("/docs/swagger-ui.css", "text/css"),
        ("/docs/swagger-ui-bundle.js", "text/javascript"),
        ("/docs/start.js", "text/javascript; charset=utf-8"),
        ("/docs/favicon-32x32.png", "image/png"),
    ],
)
async def test_the_page_comes_from_here(api: Api, path: str, content_type: str) -> None:
    """The page and each of its parts are served, open and with their types."""
    async with api.session.get(api.url + path) as answer:
        assert (answer.status, answer.headers["Content-Type"]) == (200, content_type)
        assert await answer.read()


@pytest.mark.parametrize("name", ["index.html", "..%2F__init__.py", "%2Fetc%2Fpasswd"])
async def test_no_other_file_is_served(api: Api, name: str) -> None:
    """Only the listed parts exist."""
    async with api.session.get(f"{api.url}/docs/{name}") as answer:
        assert answer.status == 404


@pytest.mark.browser
async def test_a_browser_shows_the_calls(api: Api) -> None:
    """Chromium draws every operation of the contract, asks no other host, and reports no error."""
    async with async_playwright() as playwright:
        try:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except BrowserError as error:
            pytest.skip(f"no Chromium here: {error.message.splitlines()[0]}")
        page = await browser.new_page()
        asked: list[str] = []
        complaints: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        await page.goto(f"{api.url}/docs")
        await page.wait_for_selector("#operations-push-pushToRoom")
        operations = await page.locator(".opblock").count()
        await browser.close()
    assert operations == 11
    assert complaints == []
    assert all(url.startswith((api.url, "data:", "blob:")) for url in asked)

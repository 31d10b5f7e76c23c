"""One Chromium for all browser tests; each test gets its own page and its own scripted gateway."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest_asyncio
from aiohttp.test_utils import TestServer
from playwright.async_api import Browser, Page

from gateway.pages import make_pages
from tests.browser import running_browser
from tests.gateway.web.scripted_gateway import ScriptedGateway


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    """Start one Chromium for all tests."""
    async with running_browser() as browser:
        yield browser


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site() -> AsyncIterator[str]:
    """Serve the pages; gives the address of the server, without a slash."""
    async with TestServer(make_pages()) as server:
        yield str(server.make_url("/")).rstrip("/")


@asynccontextmanager
async def _empty_page(browser: Browser, site: str) -> AsyncIterator[Page]:
    async with await browser.new_context() as context:
        page = await context.new_page()
        page.set_default_timeout(10_000)
        await page.goto(f"{site}/static/vendor/danmaku-LICENSE.txt")
        yield page


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, site: str) -> AsyncIterator[Page]:
    """Open a document of the site without scripts, where modules can be imported."""
    async with _empty_page(browser, site) as page:
        yield page


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def shared_page(browser: Browser, site: str) -> AsyncIterator[Page]:
    """Open such a document for all tests that leave nothing behind in it."""
    async with _empty_page(browser, site) as page:
        yield page


@pytest_asyncio.fixture(loop_scope="session")
async def scripted() -> AsyncIterator[ScriptedGateway]:
    """Start a gateway that follows the test."""
    async with ScriptedGateway() as gateway:
        yield gateway

"""A browser shows pushed danmaku on the demo page."""

from pathlib import Path

import jwt
import pytest
from playwright.async_api import Page

from loadgen.stack.plan import HOST
from tests.browser import running_browser
from tests.system.platform import Platform, make_options, running_platform

pytestmark = [pytest.mark.system, pytest.mark.browser]


async def test_the_page_shows_pushed_danmaku(platform: Platform) -> None:
    """Pages on both gateways show what was pushed over HTTP, and what one of them sends the other shows."""
    async with running_browser() as browser:
        pages = [await browser.new_page() for _ in range(2)]
        for page, ports in zip(pages, platform.options.gateways, strict=True):
            await page.goto(f"http://{HOST}:{ports.client}/?room=demo&name=viewer{ports.client}")
            await page.wait_for_selector("text=/connected/i")
        await platform.until(0, lambda stats: stats["rooms"] == 1)
        await platform.until(1, lambda stats: stats["rooms"] == 1)
        danmaku = {"type": "danmaku", "text": "前排围观!", "user": {"id": "7", "name": "小明"}}
        await platform.push("demo", [danmaku])
        for page in pages:
            await shown(page, "前排围观!")


async def test_a_token_on_the_page_s_address_identifies_the_viewer(redis_url: str, tmp_path: Path) -> None:
    """`?token=` authenticates the page's viewer, pushes to that user reach it, and the address no longer shows it."""
    secret = "a shared secret of more than thirty-two bytes"
    env = {"gateway-1": {"GATEWAY_JWT_SECRET": secret}}
    token = jwt.encode({"sub": "7", "name": "小明"}, secret, "HS256")
    async with (
        running_platform(make_options(redis_url, gateways=1, env=env), tmp_path) as platform,
        running_browser() as browser,
    ):
        page = await browser.new_page()
        await page.goto(f"http://{HOST}:{platform.options.gateways[0].client}/?room=demo&token={token}")
        await platform.until(0, lambda stats: stats["rooms"] == 1)
        notice = {"type": "notice", "text": "only for you"}
        status, _ = await platform.call("POST", "/v1/users/7/messages", {"data": notice})
        assert status == 200
        await shown(page, "only for you")
        assert "token" not in page.url


async def shown(page: Page, text: str) -> None:
    """Wait until the text is on the page, flying or in the log."""
    await page.wait_for_function("text => document.body.innerText.includes(text)", arg=text)

"""The demo page in a browser, against a scripted gateway."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.gateway.web.scripted_gateway import ScriptedGateway, Visit

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session")
async def complaints() -> list[str]:
    """Collect what the browser complains about."""
    return []


@pytest_asyncio.fixture(loop_scope="session")
async def demo(browser: Browser, site: str, scripted: ScriptedGateway, complaints: list[str]) -> AsyncIterator[Page]:
    """Open the demo page; the site itself is no gateway, so the page falls back to the scripted one."""
    async with await browser.new_context(viewport={"width": 360, "height": 740}) as context:
        page = await context.new_page()
        page.set_default_timeout(10_000)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text))
        await page.goto(f"{site}/?room=studio/42&name=小明&gateways={scripted.host}")
        yield page


async def enter(demo: Page, scripted: ScriptedGateway, room: str = "studio/42") -> Visit:
    """Let the page in, and wait until it shows that it is."""
    visit = await scripted.visit()
    assert (await visit.admit(online=1234))["room"] == room
    await demo.wait_for_function("() => document.getElementById('state').dataset.state === 'open'")
    return visit


async def wait_for_text(demo: Page, element: str, text: str) -> None:
    """Wait until an element contains a text."""
    script = "([id, text]) => document.getElementById(id).textContent.includes(text)"
    await demo.wait_for_function(script, arg=[element, text])


async def test_danmaku_flies_and_is_logged(demo: Page, scripted: ScriptedGateway, complaints: list[str]) -> None:
    """Pushed danmaku appear on the stage and in the log, counts are shown, and nothing breaks the page's own policy."""
    visit = await enter(demo, scripted)
    await wait_for_text(demo, "stat-online", "1,234")
    cards = [
        {"type": "gift", "gift": {"name": "火箭"}, "count": 3, "user": {"name": "阿月"}},
        {"type": "superchat", "text": "主播加油", "price": 30},
        {"type": "notice", "text": "十点结束"},
    ]
    await visit.push("studio/42", [{"type": "danmaku", "text": "前排!"}, *cards, {"type": "vote", "to": [1]}], 5)
    for text in ("前排!", "火箭", "主播加油", "十点结束"):
        await wait_for_text(demo, "stage", text)
        await wait_for_text(demo, "log", text)
    await wait_for_text(demo, "log", '{"type":"vote","to":[1]}')
    await visit.say("SHED", room="studio/42", count=17)
    await visit.say("ONLINE", room="studio/42", count=99)
    await wait_for_text(demo, "stat-total", "5")
    await wait_for_text(demo, "stat-shed", "17")
    await wait_for_text(demo, "stat-online", "99")
    await wait_for_text(demo, "stat-gateway", scripted.host)
    # The one thing to complain about is the site that is no gateway.
    assert all("426" in text for text in complaints), complaints


async def test_text_never_becomes_markup(demo: Page, scripted: ScriptedGateway) -> None:
    """A danmaku of markup is shown as the text it is, on the stage and in the log."""
    visit = await enter(demo, scripted)
    evil = "<img src=x onerror=\"document.title='broken'\">"
    user = {"name": "<b>bold</b>"}
    kinds = ("danmaku", "superchat", "notice", "gift", evil)
    await visit.push("studio/42", [{"type": kind, "text": evil, "user": user} for kind in kinds], 5)
    await wait_for_text(demo, "stage", evil)
    await wait_for_text(demo, "log", evil)
    await demo.wait_for_function("() => document.querySelectorAll('#log .line').length >= 6")
    assert await demo.evaluate("document.querySelectorAll('#log img, #log b, #stage img, #stage b').length") == 0
    assert await demo.title() == "studio/42 · danmaku-push"


async def test_viewer_sends(demo: Page, scripted: ScriptedGateway) -> None:
    """What the viewer types goes up with its colour, mode and name, and the answer is shown."""
    visit = await enter(demo, scripted)
    await demo.get_by_label("Blue").check()
    await demo.get_by_label("Mode").select_option("top")
    await demo.get_by_label("Danmaku", exact=True).fill("你好")
    await demo.get_by_role("button", name="Send").click()
    send = await visit.expect("SEND")
    draft = {"type": "danmaku", "text": "你好", "mode": "top", "color": "#4cc9ff", "user": {"name": "小明"}}
    assert (send["room"], send["data"]) == ("studio/42", draft)
    await visit.say("ACK", ref=send["ref"], seq=41)
    await wait_for_text(demo, "answer", "41")
    await demo.get_by_label("Danmaku", exact=True).fill("again")
    await demo.get_by_role("button", name="Send").click()
    send = await visit.expect("SEND")
    await visit.say("ERROR", ref=send["ref"], code="rate_limited", message="at most 2 a second")
    await wait_for_text(demo, "answer", "at most 2 a second")
    assert await demo.get_by_label("Danmaku", exact=True).input_value() == "again"


async def test_other_room(demo: Page, scripted: ScriptedGateway) -> None:
    """Choosing another room leaves the old one, empties the log, and puts the room into the address."""
    visit = await enter(demo, scripted)
    await visit.push("studio/42", [{"type": "danmaku", "text": "旧房间"}], 1)
    await wait_for_text(demo, "log", "旧房间")
    await demo.get_by_label("Room").fill("7")
    await demo.get_by_role("button", name="Go").click()
    assert (await visit.expect("LEAVE"))["room"] == "studio/42"
    assert (await visit.admit(online=5))["room"] == "7"
    await wait_for_text(demo, "log", "Joined room 7")
    assert await demo.evaluate("document.getElementById('log').textContent.includes('旧房间')") is False
    assert await demo.evaluate("new URLSearchParams(location.search).get('room')") == "7"


async def test_lost_gateway_is_shown(demo: Page, scripted: ScriptedGateway) -> None:
    """While there is no connection the page says so and does not offer to send; it comes back by itself."""
    visit = await enter(demo, scripted)
    await demo.evaluate(
        """() => {
            window.seen = new Set();
            const state = document.getElementById("state");
            const look = () => seen.add(`${state.dataset.state} ${document.getElementById("send").disabled}`);
            new MutationObserver(look).observe(state, { attributes: true });
        }"""
    )
    visit.cut()
    await enter(demo, scripted)
    seen = await demo.evaluate("[...seen]")
    assert "waiting true" in seen
    assert await demo.get_by_role("button", name="Send").is_enabled()


async def test_log_and_stage_are_bounded(demo: Page, scripted: ScriptedGateway) -> None:
    """However much is pushed, the log keeps 200 lines, the stage what fits, and the rest is counted as not drawn."""
    visit = await enter(demo, scripted)
    for batch in range(4):
        items = [{"type": "danmaku", "text": f"第{batch}批 {item}"} for item in range(500)]
        await visit.push("studio/42", items, 500 * (batch + 1))
    await wait_for_text(demo, "log", "第3批 499")
    await wait_for_text(demo, "stat-total", "2,000")
    assert await demo.evaluate("document.getElementById('log').childElementCount") == 200
    assert 0 < await demo.evaluate("document.querySelectorAll('#stage .fly').length") < 60
    dropped = int((await demo.locator("#stat-dropped").inner_text()).replace(",", ""))
    assert 1900 < dropped < 2000


async def test_page_fits_a_phone(demo: Page, scripted: ScriptedGateway) -> None:
    """On a phone's width nothing is cut off or needs sideways scrolling."""
    await enter(demo, scripted)
    assert await demo.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await demo.get_by_role("button", name="Send").is_visible()


async def test_every_control_has_a_label(demo: Page, scripted: ScriptedGateway) -> None:
    """Everything that can be operated has a name for those who cannot see it."""
    await enter(demo, scripted)
    names = """[...document.querySelectorAll("input, select, button")].map((element) =>
        element.getAttribute("aria-label") || element.labels?.[0]?.textContent || element.textContent)"""
    found = [name.strip() for name in await demo.evaluate(names)]
    assert len(found) > 10
    assert all(found), found


async def test_nothing_flies_with_reduced_motion(demo: Page, scripted: ScriptedGateway) -> None:
    """Where the viewer prefers no motion, scrolling danmaku are shown standing."""
    await demo.emulate_media(reduced_motion="reduce")
    visit = await enter(demo, scripted)
    await visit.push("studio/42", [{"type": "danmaku", "text": "站着"}], 1)
    await wait_for_text(demo, "stage", "站着")
    places = """() => new Promise((resolve) => {
        const place = () => document.querySelector("#stage .fly").getBoundingClientRect().x;
        requestAnimationFrame(() => {
            const before = place();
            requestAnimationFrame(() => requestAnimationFrame(() => resolve([before, place()])));
        });
    })"""
    before, after = await demo.evaluate(places)
    assert before == after


async def test_renderer_forgets_what_it_has_shown(page: Page, site: str) -> None:
    """The renderer's list of comments is emptied again and again, however long the page is open."""
    script = """async () => {
        const { FlyingStage } = await import("/static/flying.js");
        const { describe } = await import("/static/items.js");
        const box = document.createElement("div");
        box.style.cssText = "width: 400px; height: 20000px";
        document.body.append(box);
        window.stage = new FlyingStage(box, matchMedia("(prefers-reduced-motion: reduce)"));
        window.added = 0;
        const emit = stage.renderer.emit.bind(stage.renderer);
        stage.renderer.emit = (comment) => { added += 1; return emit(comment); };
        stage.offer(Array.from({ length: 300 }, () => describe({ type: "danmaku", text: "短" })));
    }"""
    await page.evaluate(script)
    await page.wait_for_function("() => added === 300 && stage.renderer.comments.length <= 44")
    assert await page.evaluate("document.querySelectorAll('.fly').length") == 300

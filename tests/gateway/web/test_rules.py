"""The pure decisions of the browser client and of the stage, run in the browser they are for."""

from typing import Any

import pytest
from playwright.async_api import Page

from protocol.codes import ERRORS, may_reconnect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

RULES = "/client/rules.js"
STAGE = "/static/stage.js"
ITEMS = "/static/items.js"
SESSION = "/static/session.js"


async def call(page: Page, module: str, name: str, *arguments: object) -> Any:
    """Call an exported function with JSON arguments."""
    script = "async ([module, name, given]) => (await import(module))[name](...given)"
    return await page.evaluate(script, [module, name, list(arguments)])


async def test_close_codes_mean_what_the_gateway_says(shared_page: Page) -> None:
    """The client comes back after exactly those close codes after which the gateway's table says it may."""
    script = """async (module) => {
        const { mayReconnect } = await import(module);
        return Array.from({ length: 4000 }, (_, index) => mayReconnect(1000 + index));
    }"""
    decisions = await shared_page.evaluate(script, RULES)
    assert decisions == [may_reconnect(code) for code in range(1000, 5000)]
    assert 0 < decisions.count(False) < 600


async def test_error_codes_mean_what_the_platform_says(shared_page: Page) -> None:
    """The client repeats a rejoin after exactly those errors that the platform's table calls retriable."""
    script = "async ([module, codes]) => codes.map((await import(module)).isRetriable)"
    assert await shared_page.evaluate(script, [RULES, list(ERRORS)]) == [info.may_retry for info in ERRORS.values()]


async def test_backoff_is_full_jitter_below_a_doubling_ceiling(shared_page: Page) -> None:
    """The delay is a random part of a ceiling that doubles from the base to the cap and stays there."""
    script = """async (module) => {
        const { backoffMs } = await import(module);
        const at = (part) => [0, 1, 5, 6, 7, 5000].map((attempt) =>
            backoffMs(attempt, { backoffBaseMs: 500, backoffCapMs: 30000, random: () => part }));
        return [at(0), at(0.5), at(1)];
    }"""
    lowest, middle, highest = await shared_page.evaluate(script, RULES)
    assert lowest == [0] * 6
    assert highest == [500, 1000, 16_000, 30_000, 30_000, 30_000]
    assert middle == [delay / 2 for delay in highest]


HEARTBEAT = {"pingMs": 25_000, "deadMs": 60_000, "pongMs": 10_000}


@pytest.mark.parametrize(
    ("now", "sent", "received", "asked", "expected"),
    [
        (1_000, 0, 0, None, ("none", 24_000)),
        (25_000, 0, 0, None, ("ping", 10_000)),
        (25_000, 24_000, 0, None, ("none", 24_000)),
        (59_000, 50_000, 0, 25_000, ("none", 1_000)),
        (60_000, 50_000, 0, 25_000, ("dead", 0)),
        # Timers of a sleeping tab fire late: after long silence it asks first and gives time to answer.
        (600_000, 599_000, 0, None, ("ping", 10_000)),
        (609_999, 600_000, 0, 600_000, ("none", 1)),
        (610_000, 600_000, 0, 600_000, ("dead", 0)),
        (100, 5_000_000, 5_000_000, None, ("ping", 10_000)),
    ],
)
async def test_heartbeat(
    shared_page: Page, now: int, sent: int, received: int, asked: int | None, expected: tuple[str, int]
) -> None:
    """A silent side sends PING, and a peer that stays silent after being asked is taken for dead."""
    times = {"now": now, "sentAt": sent, "receivedAt": received, "askedAt": asked}
    decision = await call(shared_page, RULES, "heartbeat", times, HEARTBEAT)
    assert (decision["action"], decision["nextMs"]) == expected


@pytest.mark.parametrize(
    ("place", "push", "items", "seen"),
    [
        ((1, 5, None), (["a", "b"], 6, 1), ["a", "b"], 6),
        ((1, 6, 6), (["b"], 6, 1), [], 6),
        ((1, 6, 6), (["a"], 3, 1), [], 6),
        ((1, 6, 6), (["c", "d"], 8, 1), ["c", "d"], 8),
        ((1, 6, 6), (["a", "b", "c"], 7, 1), ["c"], 7),
        ((1, 6, 6), (["z"], 90, 1), ["z"], 90),
        ((1, 6, 6), (["n"], 2, 9), ["n"], 2),
    ],
)
async def test_what_was_seen_is_not_shown_again(
    shared_page: Page,
    place: tuple[int, int, int | None],
    push: tuple[list[str], int, int],
    items: list[str],
    seen: int,
) -> None:
    """Of a batch in the same epoch only what lies above the last sequence seen is new; a new epoch is all new."""
    before = dict(zip(("epoch", "since", "seen"), place, strict=True))
    batch = dict(zip(("items", "seq", "epoch"), push, strict=True))
    fresh = await call(shared_page, RULES, "freshItems", before, batch)
    assert fresh["items"] == items
    assert (fresh["place"]["seen"], fresh["place"]["epoch"]) == (seen, push[2] if items else place[0])


async def test_place_after_joined(shared_page: Page) -> None:
    """A recovery leaves the place to the pushes that follow; without one, what was missed is given up."""
    place = {"epoch": 3, "since": 10, "seen": 10}
    joined = {"seq": 15, "epoch": 3, "recovered": True}
    assert await call(shared_page, RULES, "placeAfterJoined", place, joined) == place
    assert (await call(shared_page, RULES, "placeAfterJoined", place, {**joined, "recovered": False}))["since"] == 15
    fresh = {"epoch": 4, "since": 15, "seen": None}
    assert await call(shared_page, RULES, "placeAfterJoined", place, {**joined, "epoch": 4}) == fresh


@pytest.mark.parametrize("text", ["", "null", "[]", "7", '"PUSH"', "{}", '{"type":7}', '{"type":"X","data":7}', "{"])
async def test_nonsense_frames_are_ignored(shared_page: Page, text: str) -> None:
    """What is not an object with a type and an object of data is no frame; nor is one over the limit."""
    assert await call(shared_page, RULES, "parseFrame", text, 100) is None
    assert await call(shared_page, RULES, "parseFrame", '{"type":"PONG"}', 100) == {"type": "PONG", "data": {}}
    assert await call(shared_page, RULES, "parseFrame", '{"type":"PONG"}', 14) is None


async def test_goaway_delay(shared_page: Page) -> None:
    """A GOAWAY's delay is taken as it is up to ten minutes; nonsense is not."""
    given = [0, 1500, 10**9, -1, "5", None]
    assert [await call(shared_page, RULES, "goAwayMs", value) for value in given] == [
        0,
        1500,
        600_000,
        None,
        None,
        None,
    ]


@pytest.mark.parametrize(
    ("text", "protocol", "url"),
    [
        ("localhost:8010", "http:", "ws://localhost:8010/ws"),
        ("live.example.com", "https:", "wss://live.example.com/ws"),
        ("https://live.example.com", "http:", "wss://live.example.com/ws"),
        ("ws://[::1]:8000/connect", "http:", "ws://[::1]:8000/connect"),
        ("javascript://x", "http:", None),
        ("", "http:", None),
        ("http://", "http:", None),
    ],
)
async def test_gateway_addresses(shared_page: Page, text: str, protocol: str, url: str | None) -> None:
    """A gateway may be given as host and port or as an http or ws address; anything else is refused."""
    assert await call(shared_page, SESSION, "gatewayUrl", text, protocol) == url


async def test_items_are_described(shared_page: Page) -> None:
    """Known types get their look, fields that make no sense a default, and unknown JSON is shown as text."""
    user = {"name": "小明", "role": "host"}
    items: list[Any] = [
        {"type": "danmaku", "text": " 前排\n! ", "mode": "top", "color": "#FF0000", "size": 99, "user": user},
        {"type": "danmaku", "text": "x", "mode": "fly", "color": ["#ff0000"], "size": "big", "user": 7},
        {"type": "gift", "gift": {"name": "火箭"}, "count": 3, "user": user},
        {"type": "superchat", "text": "加油", "price": 30, "user": user},
        {"type": "toString", "text": "<b>"},
        [1, "二"],
        {"type": "recall", "seq": 4},
    ]
    looks = [await call(shared_page, ITEMS, "describe", item) for item in items]
    assert (looks[0]["text"], looks[0]["mode"], looks[0]["color"], looks[0]["size"]) == ("前排 !", "top", "#FF0000", 64)
    assert (looks[0]["name"], looks[0]["role"]) == ("小明", "host")
    assert (looks[1]["mode"], looks[1]["color"], looks[1]["size"], looks[1]["name"]) == ("scroll", "#ffffff", 25, "")
    assert (looks[2]["kind"], looks[2]["text"], looks[2]["label"]) == ("gift", "火箭", "×3")
    assert (looks[3]["kind"], looks[3]["label"], looks[3]["mode"]) == ("superchat", "¥30", "top")
    assert (looks[4]["kind"], looks[4]["text"], looks[4]["mode"]) == ("other", '{"type":"toString","text":"<b>"}', None)
    assert looks[5]["text"] == '[1,"二"]'
    assert looks[6] is None


async def queue(page: Page, script: str, **options: int) -> Any:
    """Run steps on a stage queue of 2 scrolling lanes, 1 at the top and 1 at the bottom, 1,000 px and 1,000 ms wide."""
    prelude = """async ([module, options]) => {
        const { StageQueue } = await import(module);
        const queue = new StageQueue({ gapPx: 0, spreadMs: 0, ...options });
        queue.resize({ width: 1000, travelMs: 1000, lanes: { scroll: 2, top: 1, bottom: 1 } });
        const entry = (value, mode = "scroll", rank = 0, width = 1000) => ({ mode, rank, width, value });
        const take = (now) => queue.take(now).map(({ value }) => value);
    """
    return await page.evaluate(prelude + script + "}", [STAGE, options])


async def test_stage_takes_what_its_lanes_hold(shared_page: Page) -> None:
    """An entry waits until a lane of its mode takes it; a scrolling lane is free when the one before is in."""
    shown = await queue(
        shared_page,
        """
        queue.offer([1, 2, 3, 4].map((value) => entry(value)), 0);
        queue.offer([entry("t1", "top"), entry("t2", "top"), entry("b", "bottom")], 0);
        return [take(0), take(499), take(500), take(999), take(1000), queue.counts];
        """,
    )
    assert shown[:5] == [[1, 2, "t1", "b"], [], [3, 4], [], ["t2"]]
    assert shown[5] == {"shown": 7, "dropped": 0, "skipped": 0, "waiting": 0}


async def test_stage_is_bounded_and_the_newest_win(shared_page: Page) -> None:
    """However much arrives, a bounded number waits; the newest and the important stay, all others are counted."""
    shown = await queue(
        shared_page,
        """
        queue.offer([entry("gift", "scroll", 1), ...Array.from({ length: 5000 }, (_, value) => entry(value))], 0);
        const first = { ...queue.counts };
        queue.offer([entry("newest")], 0);
        return [first, queue.counts, take(0), take(500)];
        """,
        waitingPerLane=2,
    )
    assert shown[0] == {"shown": 0, "dropped": 4997, "skipped": 0, "waiting": 4}
    assert shown[1] == {"shown": 0, "dropped": 4998, "skipped": 0, "waiting": 4}
    assert shown[2:] == [["gift", 4998], [4999, "newest"]]


async def test_stage_spreads_a_batch_over_its_tick(shared_page: Page) -> None:
    """The entries of a batch come one after the other over the time since the batch before."""
    shown = await queue(
        shared_page,
        """
        queue.offer([entry("a", "scroll", 0, 0)], 0);
        const first = take(0);
        queue.offer([0, 1, 2, 3].map((value) => entry(value, "scroll", 0, 0)), 400);
        return [first, take(400), take(499), take(500), take(600), take(700)];
        """,
        spreadMs=1000,
    )
    assert shown == [["a"], [0], [], [1], [2], [3]]


async def test_stage_drops_what_came_too_late(shared_page: Page) -> None:
    """What waited longer than the limit is dropped and counted, not shown."""
    shown = await queue(
        shared_page,
        "queue.offer([entry(1), entry(2), entry(3)], 0); return [take(0), take(301), queue.counts];",
        staleMs=300,
    )
    assert shown == [[1, 2], [], {"shown": 2, "dropped": 1, "skipped": 0, "waiting": 0}]


async def test_hidden_stage_keeps_nothing(shared_page: Page) -> None:
    """While hidden nothing is kept, what arrives is counted, and afterwards the stage begins empty."""
    shown = await queue(
        shared_page,
        """
        queue.offer([entry(1), entry(2), entry(3)], 0);
        take(0);
        queue.hide();
        queue.offer([entry(4), entry(5)], 10);
        const hidden = [take(20), queue.counts];
        queue.show();
        queue.offer([entry(6)], 30);
        return [...hidden, take(30)];
        """,
    )
    assert shown == [[], {"shown": 2, "dropped": 0, "skipped": 3, "waiting": 0}, [6]]


async def test_lanes_by_area_and_mode(shared_page: Page) -> None:
    """Rows that fit scroll, a third stands at the top and at the bottom; with reduced motion nothing scrolls."""
    assert await call(shared_page, STAGE, "laneCounts", 380, 38) == {"scroll": 10, "top": 3, "bottom": 3}
    assert await call(shared_page, STAGE, "laneCounts", 380, 38, True) == {"scroll": 0, "top": 7, "bottom": 3}
    assert await call(shared_page, STAGE, "laneCounts", 10, 38) == {"scroll": 1, "top": 1, "bottom": 1}

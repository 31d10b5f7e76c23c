"""The browser client against a scripted gateway: commands, order, resumption, reconnection."""

from typing import Any

import pytest
from playwright.async_api import Page

from tests.gateway.web.scripted_gateway import ScriptedGateway, Visit

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

START = """async (options) => {
    const { DanmakuClient } = await import("/client.js");
    if ("jitter" in options) options.random = () => options.jitter;
    window.client = new DanmakuClient({ backoffBaseMs: 20, backoffCapMs: 50, ...options });
    window.log = [];
    window.items = [];
    const types = "state open authenticated joined left push online shed error goaway";
    for (const type of types.split(" ")) {
        client.addEventListener(type, ({ detail }) => log.push({ type, at: performance.now(), ...detail }));
    }
    client.addEventListener("push", ({ detail }) => items.push(...detail.items));
    // Asks without waiting for the answer: the test reads it from the promise afterwards.
    window.ask = (name, call) => {
        const settled = (result) => { answers[name] = result; };
        call().then(settled, ({ code, message }) => settled({ code, message }));
    };
    window.answers = {};
    client.connect();
}"""


async def start(page: Page, scripted: ScriptedGateway, **options: object) -> None:
    """Make a client in the page and let it connect; `jitter` replaces its random number."""
    await page.evaluate(START, {"url": scripted.url, **options})


async def ask(page: Page, call: str) -> None:
    """Begin a command of the client; `answered` gives its result."""
    await page.evaluate(f"ask({call!r}, () => client.{call})")


async def answered(page: Page, call: str) -> Any:
    """Wait for the answer of a command begun with `ask`: its value, or the code and message of its error."""
    await page.wait_for_function("(name) => name in answers", arg=call)
    return await page.evaluate("(name) => answers[name]", call)


async def events(page: Page, kind: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait for this many events of a type, and give them."""
    script = "([type, count]) => log.filter((event) => event.type === type).length >= count"
    await page.wait_for_function(script, arg=[kind, count])
    found: list[dict[str, Any]] = await page.evaluate("(type) => log.filter((event) => event.type === type)", kind)
    return found


async def state(page: Page, name: str) -> dict[str, Any]:
    """Wait until the client said that it is in this state, and give the last such event."""
    script = "(name) => log.findLast((event) => event.type === 'state' && event.state === name) ?? null"
    await page.wait_for_function(script, arg=name)
    event: dict[str, Any] = await page.evaluate(script, name)
    return event


async def items(page: Page, count: int) -> list[Any]:
    """Wait for this many items, and give all that came."""
    await page.wait_for_function("(count) => items.length >= count", arg=count)
    found: list[Any] = await page.evaluate("items")
    return found


async def joined(page: Page, scripted: ScriptedGateway, room: str = "42", **options: object) -> Visit:
    """Start a client and bring it into a room at sequence 0 of epoch 1."""
    await start(page, scripted, **options)
    await ask(page, f"join('{room}')")
    visit = await scripted.visit()
    await visit.admit()
    await answered(page, f"join('{room}')")
    return visit


async def test_join_push_leave(page: Page, scripted: ScriptedGateway) -> None:
    """A page joins, receives batches in order with their items unchanged, hears counts, and leaves."""
    await start(page, scripted)
    await ask(page, "join('42')")
    visit = await scripted.visit()
    join = await visit.admit(seq=7, epoch=3, online=12)
    assert (join["room"], "since" in join) == ("42", False)
    answer = {"room": "42", "seq": 7, "epoch": 3, "online": 12, "recovered": False}
    assert await answered(page, "join('42')") == answer
    first = [{"type": "danmaku", "text": "前排!"}, 7, None]
    await visit.push("42", first, 10, 3)
    await visit.push("42", [["二"]], 11, 3)
    await visit.say("PUSH", to="all", items=["everybody"])
    await visit.say("ONLINE", room="42", count=13)
    await visit.say("SHED", room="42", count=4)
    assert await items(page, 5) == [*first, ["二"], "everybody"]
    assert (await events(page, "online"))[0]["count"] == 13
    assert (await events(page, "shed"))[0]["count"] == 4
    assert (await events(page, "push"))[0]["seq"] == 10
    await ask(page, "leave('42')")
    leave = await visit.expect("LEAVE")
    await visit.push("42", ["too late"], 12, 3)
    await visit.say("LEFT", room="42", ref=leave["ref"])
    assert await answered(page, "leave('42')") == {"room": "42"}
    assert len(await page.evaluate("items")) == 5
    assert await page.evaluate("client.rooms") == []


async def test_send_and_its_answers(page: Page, scripted: ScriptedGateway) -> None:
    """Each SEND is answered by its own ref, in whatever order: with its sequence, or with the gateway's error."""
    visit = await joined(page, scripted)
    await ask(page, "send('42', { text: '一' })")
    await ask(page, "send('42', { text: '二' })")
    first, second = await visit.expect("SEND"), await visit.expect("SEND")
    assert (first["data"], second["data"]) == ({"text": "一"}, {"text": "二"})
    await visit.say("ERROR", code="rate_limited", message="at most 2 a second", ref=second["ref"])
    await visit.say("ACK", ref=first["ref"], seq=8)
    assert await answered(page, "send('42', { text: '一' })") == {"seq": 8}
    refusal = {"code": "rate_limited", "message": "at most 2 a second"}
    assert await answered(page, "send('42', { text: '二' })") == refusal


async def test_authenticate(page: Page, scripted: ScriptedGateway) -> None:
    """A token goes first on every connection; a refused one is told to the page and forgotten."""
    await start(page, scripted, token="t1", jitter=0)
    await ask(page, "join('42')")
    visit = await scripted.visit()
    auth = await visit.expect("AUTH")
    assert auth["token"] == "t1"
    await visit.admit()
    user = {"id": "7", "name": "小明", "role": "viewer"}
    await visit.say("ACK", ref=auth["ref"], user=user)
    assert (await events(page, "authenticated"))[0]["user"] == user
    assert await page.evaluate("client.user") == user
    await ask(page, "authenticate('t2')")
    auth = await visit.expect("AUTH")
    await visit.say("ERROR", code="token_invalid", message="expired", ref=auth["ref"])
    assert (await answered(page, "authenticate('t2')"))["code"] == "token_invalid"
    visit.cut()
    assert (await (await scripted.visit()).admit())["room"] == "42"


async def test_refused_join(page: Page, scripted: ScriptedGateway) -> None:
    """A join that the gateway refuses rejects with its code, and the room is not joined on the next connection."""
    visit = await joined(page, scripted, jitter=0)
    await ask(page, "join('no room')")
    join = await visit.expect("JOIN")
    await visit.say("ERROR", code="room_invalid", message="data.room: …", ref=join["ref"])
    assert (await answered(page, "join('no room')"))["code"] == "room_invalid"
    assert await page.evaluate("client.rooms") == ["42"]


async def test_errors_without_a_command(page: Page, scripted: ScriptedGateway) -> None:
    """An ERROR that answers no command becomes an event; frames that make no sense change nothing."""
    visit = await joined(page, scripted)
    for text in ("nonsense", "[]", '{"type":"NEWER","data":{}}', '{"type":"PUSH","data":{"room":"42"}}'):
        await visit.say_raw(text)
    await visit.say("ERROR", code="json_invalid", message="…")
    assert (await events(page, "error"))[0]["code"] == "json_invalid"
    assert await page.evaluate("client.state") == "open"


async def test_rejoin_resumes_and_shows_nothing_twice(page: Page, scripted: ScriptedGateway) -> None:
    """After a cut the client rejoins every room after the last sequence it saw; what it saw is not shown again."""
    visit = await joined(page, scripted, jitter=0)
    await ask(page, "join('quiet')")
    await visit.admit(seq=4, epoch=9)
    await answered(page, "join('quiet')")
    await visit.push("42", ["a", "b"], 2)
    await items(page, 2)
    visit.cut()
    visit = await scripted.visit()
    await page.evaluate("ask('now', () => client.join('42'))")
    busy = await visit.admit(seq=5, recovered=True)
    assert (await answered(page, "now"))["seq"] == 5
    quiet = await visit.admit(seq=4, epoch=9, recovered=True)
    assert (busy["room"], busy["since"], busy["epoch"]) == ("42", 2, 1)
    assert (quiet["room"], quiet["since"], quiet["epoch"]) == ("quiet", 4, 9)
    await visit.push("42", ["a", "b", "c"], 3)
    await visit.push("42", ["c"], 3)
    await visit.push("42", ["d"], 4)
    assert await items(page, 4) == ["a", "b", "c", "d"]
    assert [event["recovered"] for event in (await events(page, "joined", 4))[2:]] == [True, True]


async def test_new_epoch_starts_anew(page: Page, scripted: ScriptedGateway) -> None:
    """When a room's sequence began anew, lower sequences of the new epoch are shown."""
    visit = await joined(page, scripted, jitter=0)
    await visit.push("42", ["old"], 100)
    await items(page, 1)
    visit.cut()
    visit = await scripted.visit()
    await visit.admit(seq=1, epoch=2)
    await visit.push("42", ["new"], 2, epoch=2)
    assert await items(page, 2) == ["old", "new"]


async def test_join_survives_a_lost_connection(page: Page, scripted: ScriptedGateway) -> None:
    """A join whose answer was lost with the connection is answered by the next one; a lost send rejects."""
    visit = await joined(page, scripted, jitter=0)
    await ask(page, "join('later')")
    await ask(page, "send('42', 1)")
    await visit.expect("JOIN")
    await visit.expect("SEND")
    visit.cut()
    visit = await scripted.visit()
    await visit.admit(recovered=True)
    assert (await visit.admit(seq=3))["room"] == "later"
    assert (await answered(page, "join('later')"))["seq"] == 3
    assert (await answered(page, "send('42', 1)"))["code"] == "connection_lost"


async def test_rejoin_is_repeated_after_a_passing_error(page: Page, scripted: ScriptedGateway) -> None:
    """A rejoin refused for now is repeated; refused for good, the room is given up and the page is told."""
    visit = await joined(page, scripted)
    visit.cut()
    visit = await scripted.visit()
    for code in ("unavailable", "forbidden"):
        join = await visit.expect("JOIN")
        await visit.say("ERROR", code=code, message="…", ref=join["ref"])
    passing, final = await events(page, "error", 2)
    assert (passing["code"], passing["room"], passing["willRetry"]) == ("unavailable", "42", True)
    assert (final["code"], final["room"], final["willRetry"]) == ("forbidden", "42", False)
    assert await page.evaluate("client.rooms") == []


async def test_goaway_is_honoured(page: Page, scripted: ScriptedGateway) -> None:
    """After GOAWAY the client keeps receiving, leaves when the delay has passed, and resumes on a new connection."""
    visit = await joined(page, scripted)
    await visit.say("GOAWAY", reason="drain", reconnect_after_ms=600)
    await visit.push("42", ["last words"], 1)
    assert await items(page, 1) == ["last words"]
    assert await page.evaluate("client.state") == "open"
    assert await visit.closed() == 1000
    join = await (await scripted.visit()).admit(seq=1, recovered=True)
    assert (join["since"], join["epoch"]) == (1, 1)
    goaway = (await events(page, "goaway"))[0]
    assert (goaway["reason"], goaway["reconnectAfterMs"]) == ("drain", 600)
    assert (await state(page, "connecting"))["at"] - goaway["at"] >= 599
    await events(page, "joined", 2)
    assert scripted.handshakes == 2


async def test_goaway_then_close(page: Page, scripted: ScriptedGateway) -> None:
    """When the gateway closes before the delay has passed, the client still waits for the rest of it."""
    visit = await joined(page, scripted)
    await visit.say("GOAWAY", reason="drain", reconnect_after_ms=900)
    await events(page, "goaway")
    await visit.close(4003, "draining")
    waiting = await state(page, "waiting")
    assert 0 < waiting["retryMs"] <= 900
    await (await scripted.visit()).admit()
    await events(page, "joined", 2)
    goaway = (await events(page, "goaway"))[0]
    assert (await state(page, "connecting"))["at"] - goaway["at"] >= 899
    assert scripted.handshakes == 2


async def test_close_code_that_forbids(page: Page, scripted: ScriptedGateway) -> None:
    """After a close code of 4500 and above the client stays away, rejects what is pending, and says why."""
    visit = await joined(page, scripted)
    await ask(page, "join('other')")
    await visit.expect("JOIN")
    await visit.close(4501, "too many errors")
    closed = await state(page, "closed")
    assert (closed["code"], closed["reason"]) == (4501, "too many errors")
    assert (await answered(page, "join('other')"))["code"] == "closed"
    await ask(page, "send('42', 1)")
    assert (await answered(page, "send('42', 1)"))["code"] == "not_connected"
    # Ten times the longest backoff of this client: a reconnection would have come.
    await page.evaluate("new Promise((resolve) => setTimeout(resolve, 500))")
    assert scripted.handshakes == 1
    await page.evaluate("client.connect()")
    assert (await (await scripted.visit()).expect("JOIN"))["room"] == "42"


@pytest.mark.parametrize("code", [1000, 1001, 1011, 4000, 4499])
async def test_close_code_that_allows(page: Page, scripted: ScriptedGateway, code: int) -> None:
    """After a close code that says so the client comes back by itself."""
    visit = await joined(page, scripted)
    await visit.close(code)
    assert (await (await scripted.visit()).admit())["room"] == "42"


async def test_backoff_on_refusal(page: Page, scripted: ScriptedGateway) -> None:
    """Each refused handshake doubles the ceiling of the wait, up to the cap, until one is accepted."""
    scripted.refusals = 4
    await start(page, scripted, jitter=1)
    await ask(page, "join('42')")
    await (await scripted.visit()).admit()
    await answered(page, "join('42')")
    waits = [event["retryMs"] for event in await events(page, "state") if event["state"] == "waiting"]
    assert waits == [20, 40, 50, 50]
    assert scripted.handshakes == 5


async def test_backoff_starts_anew_after_a_stable_time(page: Page, scripted: ScriptedGateway) -> None:
    """A connection that lived long enough forgets earlier failures; one that did not keeps them."""
    scripted.refusals = 2
    await start(page, scripted, jitter=1, stableMs=0)
    (await scripted.visit()).cut()
    await scripted.visit()
    waits = [event["retryMs"] for event in await events(page, "state", 7) if event["state"] == "waiting"]
    assert waits == [20, 40, 20]


async def test_next_gateway_is_tried(page: Page, scripted: ScriptedGateway) -> None:
    """With several gateways, the next one is tried when a connection is lost."""
    async with ScriptedGateway() as other:
        await start(page, scripted, url=None, urls=[scripted.url, other.url], jitter=0)
        (await scripted.visit()).cut()
        await other.visit()
        assert (await state(page, "connecting"))["url"] == other.url


async def test_silence_is_broken_by_ping(page: Page, scripted: ScriptedGateway) -> None:
    """A client with nothing to say sends PING, and a gateway that answers keeps the connection."""
    visit = await joined(page, scripted, pingMs=40, deadMs=10_000)
    for _ in range(3):
        await visit.expect("PING")
        await visit.say("PONG")
    assert scripted.handshakes == 1


async def test_dead_connection_is_replaced(page: Page, scripted: ScriptedGateway) -> None:
    """A gateway that says nothing for too long, though asked, is given up for a new connection."""
    visit = await joined(page, scripted, pingMs=200, deadMs=1200, pongMs=200, jitter=0)
    await visit.expect("PING")
    assert (await (await scripted.visit()).admit())["since"] == 0
    assert (await state(page, "waiting"))["reason"] == "nothing was received"


async def test_no_answer_in_time(page: Page, scripted: ScriptedGateway) -> None:
    """A command without answer rejects at its deadline; a join stays wanted, and a late answer still counts."""
    visit = await joined(page, scripted, timeoutMs=100)
    await ask(page, "send('42', 1)")
    await ask(page, "join('slow')")
    assert (await answered(page, "send('42', 1)"))["code"] == "timeout"
    assert (await answered(page, "join('slow')"))["code"] == "timeout"
    assert await page.evaluate("client.rooms") == ["42", "slow"]
    await page.evaluate("ask('again', () => client.join('slow'))")
    await visit.expect("SEND")
    assert (await visit.admit())["room"] == "slow"
    assert (await events(page, "joined", 2))[1]["room"] == "slow"
    await ask(page, "leave('slow')")
    await visit.expect("LEAVE")


async def test_what_is_pending_is_bounded(page: Page, scripted: ScriptedGateway) -> None:
    """More unanswered commands or rooms than allowed are refused at once, and nothing of them is sent."""
    await joined(page, scripted, maxPending=3, maxRooms=2)
    script = """async () => {
        const asked = Array.from({ length: 5 }, () => client.send("42", 1).catch(({ code }) => code));
        const rooms = ["a", "b"].map((room) => client.join(room).catch(({ code }) => code));
        return [await asked[3], await asked[4], await rooms[1]];
    }"""
    assert await page.evaluate(script) == ["too_many_pending", "too_many_pending", "too_many_rooms"]


async def test_close_by_the_page(page: Page, scripted: ScriptedGateway) -> None:
    """close() closes normally, rejects what is pending, keeps the wanted rooms, and nothing comes back by itself."""
    visit = await joined(page, scripted, jitter=0)
    await ask(page, "send('42', 1)")
    await page.evaluate("client.close()")
    assert await visit.closed() == 1000
    assert (await answered(page, "send('42', 1)"))["code"] == "connection_lost"
    assert await page.evaluate("[client.state, client.rooms]") == ["closed", ["42"]]
    await page.evaluate("client.connect()")
    assert (await (await scripted.visit()).admit())["room"] == "42"
    assert scripted.handshakes == 2


async def test_join_in_the_open_event(page: Page, scripted: ScriptedGateway) -> None:
    """A page that joins whenever the connection opens sends one JOIN a connection, not two."""
    await page.evaluate(START, {"url": scripted.url, "jitter": 0})
    script = """() => {
        const join = () => client.state === "open" && client.join("42");
        client.addEventListener("state", join);
        join();
    }"""
    await page.evaluate(script)
    visit = await scripted.visit()
    await visit.admit()
    await events(page, "joined")
    visit.cut()
    visit = await scripted.visit()
    await visit.admit()
    await events(page, "joined", 2)
    await ask(page, "send('42', 1)")
    await visit.expect("SEND")

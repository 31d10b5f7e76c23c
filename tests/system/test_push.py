"""A push over HTTP reaches viewers: the main job, end to end."""

import asyncio
import json
from pathlib import Path

import aiohttp
import pytest

from loadgen.stack.plan import HOST
from tests.system.platform import Platform, Viewer, make_options, running_platform

pytestmark = pytest.mark.system


async def joined(platform: Platform, room: str) -> list[Viewer]:
    """Return two viewers of a room on each gateway."""
    viewers = [await platform.viewer(gateway) for gateway in (0, 0, 1, 1)]
    for viewer in viewers:
        await viewer.join(room)
    return viewers


async def test_push_reaches_every_viewer_in_order_once_and_batched(platform: Platform) -> None:
    """Viewers on two gateways receive all pushes of a room in order, once, in fewer frames than pushes."""
    viewers = await joined(platform, "42")
    receipts = await asyncio.gather(*(platform.push("42", [{"n": n}]) for n in range(200)))
    assert sorted(receipt["first_seq"] for receipt in receipts) == list(range(1, 201))
    assert all(receipt["gateways"] == {"reached": 2, "failed": 0} for receipt in receipts)
    by_seq = {receipt["first_seq"]: n for n, receipt in enumerate(receipts)}
    expected = [{"n": by_seq[seq]} for seq in range(1, 201)]
    for viewer in viewers:
        assert await viewer.items(200) == expected
        assert len(viewer.pushes()) < 50, "messages of one tick share a frame"
        assert [frame["seq"] for frame in viewer.pushes()] == sorted({frame["seq"] for frame in viewer.pushes()})


async def test_both_paths_carry_every_push_and_one_copy_is_delivered(platform: Platform) -> None:
    """Each gateway receives a push over the link and over Redis, and drops the second copy."""
    viewers = await joined(platform, "both")
    for n in range(10):
        await platform.push("both", [n])
    for viewer in viewers:
        assert await viewer.items(10) == list(range(10))
    for gateway in (0, 1):
        stats = await platform.until(gateway, lambda stats: stats["messages_received"] >= 20)
        assert stats["pushes_received"] == {"http2": 10, "redis": 10}
        assert stats["messages_duplicate"] == 10
    assert all(len(viewer.received_items()) == 10 for viewer in viewers)


async def test_data_travels_as_the_publishers_own_bytes(platform: Platform) -> None:
    """What the publisher wrote reaches the viewer byte for byte: spaces, escapes, number forms and key order."""
    viewer = await platform.viewer(0)
    await viewer.join("raw")
    data = '{ "b":1.50,"a" : "\\u524d排!", "big":12345678901234567890, "a":[ ] }'
    url = f"http://{HOST}:{platform.options.logics[0].api}/v1/rooms/raw/messages"
    headers = {
        "Authorization": f"Bearer {platform.options.secrets.api_key}",
        "Content-Type": "application/json",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=f'{{"data":{data}}}'.encode(), headers=headers) as response,
    ):
        assert response.status == 200
    text = await viewer.receive_text()
    assert f'"items":[{data}]' in text


async def test_broadcast_reaches_every_connection_and_user_push_one_user(platform: Platform) -> None:
    """A broadcast reaches viewers of any room or none, on both gateways, once."""
    in_room, outside = await platform.viewer(0), await platform.viewer(1)
    await in_room.join("somewhere")
    await outside.send("PING")
    await outside.receive("PONG")
    status, answer = await platform.call("POST", "/v1/broadcast", {"data": {"type": "notice", "text": "hello"}})
    assert status == 200, answer
    assert answer["gateways"] == {"reached": 2, "failed": 0}
    for viewer in (in_room, outside):
        assert await viewer.receive("PUSH") == {"to": "all", "items": [{"type": "notice", "text": "hello"}]}
        await viewer.send("PING")
        await viewer.receive("PONG")
        assert len(viewer.pushes()) == 1


async def test_an_idempotent_retry_is_delivered_once(platform: Platform) -> None:
    """A publisher's retry with the same key gets the first answer again; viewers see the message once."""
    viewers = await joined(platform, "idem")
    headers = {"Idempotency-Key": "order-7"}
    first = await platform.push("idem", ["gift"], headers=headers, delivery="reliable")
    again = await platform.push("idem", ["gift"], headers=headers, delivery="reliable")
    assert (again["first_seq"], again["last_seq"]) == (first["first_seq"], first["last_seq"])
    await platform.push("idem", ["after"])
    for viewer in viewers:
        assert await viewer.items(2) == ["gift", "after"]
    status, problem = await platform.call(
        "POST", "/v1/rooms/idem/messages", {"messages": [{"data": "other"}]}, headers=headers
    )
    assert (status, problem["code"]) == (409, "idempotency_conflict")


async def test_two_logics_give_one_room_one_order(redis_url: str, tmp_path: Path) -> None:
    """5,000 messages published to one room by two logics at once arrive at every viewer in one order, once each."""
    async with running_platform(make_options(redis_url, logics=2), tmp_path) as platform:
        viewers = await joined(platform, "busy")
        limit = asyncio.Semaphore(32)

        async def push(n: int) -> None:
            async with limit:
                await platform.push("busy", [n], logic=n % 2)

        await asyncio.gather(*(push(n) for n in range(5_000)))
        orders = [await viewer.items(5_000) for viewer in viewers]
        assert all(order == orders[0] for order in orders)
        assert sorted(orders[0]) == list(range(5_000))
        for viewer in viewers:
            seqs = [frame["seq"] for frame in viewer.pushes()]
            assert seqs == sorted(seqs)
            assert seqs[-1] == 5_000


async def test_bulk_publishing_answers_line_by_line(platform: Platform) -> None:
    """NDJSON publishing gives one result a line, in order; a bad line is answered and the stream goes on."""
    viewer = await platform.viewer(1)
    await viewer.join("bulk")
    lines = [{"room": "bulk", "data": n} for n in range(100)]
    body = [json.dumps(line) for line in lines[:50]] + ['{"room": "no spaces", "data": 1}']
    body += [json.dumps(line) for line in lines[50:]]
    url = f"http://{HOST}:{platform.options.logics[0].api}/v1/publish"
    headers = {
        "Authorization": f"Bearer {platform.options.secrets.api_key}",
        "Content-Type": "application/x-ndjson",
    }
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data="\n".join(body).encode() + b"\n", headers=headers) as response,
    ):
        results = [json.loads(line) for line in (await response.text()).splitlines()]
    assert [result["line"] for result in results] == list(range(1, 102))
    assert results[50]["error"]["code"] == "room_invalid"
    assert sum(result.get("accepted", 0) for result in results) == 100
    assert await viewer.items(100) == list(range(100))


async def test_the_older_servers_calls_work(platform: Platform) -> None:
    """`/push/room` and `/push/all`, form-encoded, reach clients on `/connect`."""
    viewer = await platform.viewer(0)
    await viewer.join("old")
    base = f"http://{HOST}:{platform.options.logics[0].api}"
    async with aiohttp.ClientSession() as session:
        form = {"room": "old", "items": json.dumps([{"a": 1}, {"a": 2}])}
        async with session.post(f"{base}/push/room", data=form) as response:
            assert response.status == 200, await response.text()
        async with session.post(f"{base}/push/all", data={"items": json.dumps(["all"])}) as response:
            assert response.status == 200, await response.text()
    assert sorted(map(str, await viewer.items(3))) == sorted(map(str, [{"a": 1}, {"a": 2}, "all"]))


async def test_the_overview_counts_viewers_over_gateways(platform: Platform) -> None:
    """GET rooms and gateways tell what the gateways reported; viewers are told the sum of both."""
    viewers = await joined(platform, "seen")
    while (await viewers[0].receive("ONLINE"))["count"] != 4:
        pass
    _, rooms = await platform.call("GET", "/v1/rooms?top=5")
    assert rooms["rooms"][0]["room"] == "seen"
    assert rooms["rooms"][0]["online"] == 4
    _, gateways = await platform.call("GET", "/v1/gateways")
    assert [gateway["connections"] for gateway in gateways["gateways"]] == [2, 2]

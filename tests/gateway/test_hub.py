"""Rooms, positions, ticks and users, on a gateway without ports."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from gateway.core import Gateway
from gateway.ordering import GAP_HOLD_S
from gateway.room import EARLY_MAX_MESSAGES
from protocol.envelope import Broadcast, RoomPush, encode_block
from protocol.limits import DATA_MAX_BYTES, FRAME_MAX_BYTES
from protocol.message import Delivery, Message
from tests.gateway.embedded import EPOCH, PATIENCE_S, Client, Positions, broadcast, push, settings, token_of, user_push

Connect = Callable[..., Client]


@pytest.fixture
def positions() -> Positions:
    """Make a reader that answers at once."""
    return Positions()


@pytest_asyncio.fixture
async def gateway(positions: Positions) -> AsyncIterator[Gateway]:
    """Make a gateway whose fan-out threads run."""
    made = Gateway(settings(buckets=64), positions)
    made.fanout.start()
    yield made
    made.fanout.stop()


@pytest_asyncio.fixture
async def connect(gateway: Gateway) -> AsyncIterator[Connect]:
    """Connect viewers; all are gone in the end and leave nothing behind."""
    async with AsyncExitStack() as stack:

        def make(query: str = "", **options: Any) -> Client:
            client = Client(gateway, query, **options)
            stack.callback(client.lose)
            return client

        yield make
    assert (gateway.hub.connections, gateway.hub.rooms) == (0, {})


# -- joining


async def test_join_tells_the_position(gateway: Gateway, positions: Positions, connect: Connect) -> None:
    """The answer has the position that Redis knows, and what comes after it follows."""
    positions.known["42"] = (9, 1006)
    viewer = connect()
    joined = await viewer.join("42", ref="a")
    assert joined == {"room": "42", "seq": 1006, "epoch": 9, "online": 1, "recovered": False, "ref": "a"}
    gateway.hub.push_to_room(push("42", 1007, 2, epoch=9))
    assert await viewer.hear() == ("PUSH", {"room": "42", "items": [1007, 1008], "seq": 1008, "epoch": 9})


async def test_join_without_redis(gateway: Gateway, positions: Positions, connect: Connect) -> None:
    """When Redis does not say, epoch 0 tells that no position is known; the first push decides."""
    positions.known["42"] = None
    viewer = connect()
    joined = await viewer.join("42")
    assert (joined["seq"], joined["epoch"]) == (0, 0)
    gateway.hub.push_to_room(push("42", 500))
    assert await viewer.hear() == ("PUSH", {"room": "42", "items": [500], "seq": 500, "epoch": EPOCH})


async def test_a_room_without_a_message_yet(gateway: Gateway, positions: Positions, connect: Connect) -> None:
    """A room that Redis does not know has epoch 0, and its first message is the first to come."""
    positions.known["42"] = (0, 0)
    viewer = connect()
    assert (await viewer.join("42"))["epoch"] == 0
    gateway.hub.push_to_room(push("42", 2))
    gateway.hub.push_to_room(push("42", 1))
    assert await viewer.items(2) == [1, 2]


async def test_pushes_that_come_before_the_position(gateway: Gateway, positions: Positions, connect: Connect) -> None:
    """What arrives while the position is being read waits; what the position includes is not delivered again."""
    positions.held_back, positions.known["42"] = True, (EPOCH, 5)
    viewer = connect()
    viewer.say("JOIN", room="42")
    for first in (5, 7, 6):
        gateway.hub.push_to_room(push("42", first))
    assert viewer.heard() == []
    positions.answer()
    assert (await viewer.hear())[1]["seq"] == 5
    assert await viewer.items(2) == [6, 7]
    assert gateway.counters.messages_duplicate == 1


async def test_early_pushes_are_bounded(gateway: Gateway, positions: Positions, connect: Connect) -> None:
    """A room whose position is slow to come keeps only so many messages."""
    positions.held_back = True
    viewer = connect()
    viewer.say("JOIN", room="42")
    for first in range(1, EARLY_MAX_MESSAGES + 2000, 500):
        gateway.hub.push_to_room(push("42", first, 500))
    positions.answer()
    items = await viewer.items(EARLY_MAX_MESSAGES)
    assert items == list(range(1, EARLY_MAX_MESSAGES + 1))


async def test_the_position_is_read_once(gateway: Gateway, positions: Positions, connect: Connect) -> None:
    """Viewers that join while the position is being read wait for the same answer; later ones need none."""
    positions.held_back = True
    first, second = connect(), connect()
    for viewer in (first, second):
        viewer.say("JOIN", room="42")
    positions.answer()
    assert [(await viewer.hear())[1]["online"] for viewer in (first, second)] == [1, 2]
    assert (await connect().join("42"))["online"] == 3
    assert positions.asked == ["42"]


async def test_commands_wait_for_the_join_before_them(gateway: Gateway, positions: Positions, connect: Connect) -> None:
    """LEAVE and SEND behind a JOIN that waits are carried out after it, in order; other commands do not wait."""
    positions.held_back = True
    viewer = connect()
    viewer.say("JOIN", room="42", ref=1)
    viewer.say("SEND", room="42", ref=2, data={"text": "x"})
    viewer.say("LEAVE", room="42", ref=3)
    viewer.say("JOIN", room="42", ref=4)
    viewer.say("PING")
    assert await viewer.hear() == ("PONG", {})
    positions.answer()
    heard = [await viewer.hear() for _ in range(4)]
    assert [(kind, data["ref"]) for kind, data in heard] == [("JOINED", 1), ("ERROR", 2), ("LEFT", 3), ("JOINED", 4)]
    assert heard[1][1]["code"] == "unavailable"
    gateway.hub.push_to_room(push("42", 1))
    assert await viewer.items(1) == [1]


async def test_a_room_stays_while_its_joins_are_completed(
    gateway: Gateway, positions: Positions, connect: Connect
) -> None:
    """One viewer joins and leaves, another joins behind it: the second is in a room that lives."""
    positions.held_back = True
    hasty, patient = connect(), connect()
    hasty.say("JOIN", room="42")
    hasty.say("LEAVE", room="42")
    patient.say("JOIN", room="42")
    positions.answer()
    assert (await patient.hear())[0] == "JOINED"
    gateway.hub.push_to_room(push("42", 1))
    assert await patient.items(1) == [1]


async def test_a_viewer_that_goes_while_it_waits(gateway: Gateway, positions: Positions, connect: Connect) -> None:
    """A connection that is lost before the position comes leaves no room behind."""
    positions.held_back = True
    viewer = connect()
    viewer.say("JOIN", room="42")
    viewer.lose()
    positions.answer()
    assert gateway.hub.rooms == {}


async def test_a_second_join_is_answered(gateway: Gateway, connect: Connect) -> None:
    """Joining twice is answered twice and counts once; messages still come once."""
    viewer = connect()
    await viewer.join("42")
    again = await viewer.join("42", ref="b")
    assert (again["online"], again["ref"]) == (1, "b")
    gateway.hub.push_to_room(push("42", 1))
    assert await viewer.items(1) == [1]
    assert viewer.heard() == []


# -- order and ticks


async def test_two_copies_are_delivered_once_and_in_order(gateway: Gateway, connect: Connect) -> None:
    """Copies of both paths, overtaking each other: every message comes once, in order."""
    viewer = connect()
    await viewer.join("42")
    for first in (2, 1, 2, 4, 3, 1, 4, 3):
        gateway.hub.push_to_room(push("42", first))
    assert await viewer.items(4) == [1, 2, 3, 4]
    assert gateway.counters.messages_duplicate == 4


async def test_the_first_message_leaves_at_once_then_one_frame_a_tick(gateway: Gateway, connect: Connect) -> None:
    """A quiet room's first message does not wait for a tick; those of the tick after it travel in one frame."""
    viewer = connect()
    await viewer.join("42")
    started = asyncio.get_running_loop().time()
    gateway.hub.push_to_room(push("42", 1))
    assert await viewer.items(1) == [1]
    for first in (2, 3, 4):
        gateway.hub.push_to_room(push("42", first))
        await asyncio.sleep(0)
    assert viewer.heard() == []
    assert await viewer.hear() == ("PUSH", {"room": "42", "items": [2, 3, 4], "seq": 4, "epoch": EPOCH})
    assert asyncio.get_running_loop().time() - started >= 0.049


async def test_messages_of_one_turn_share_the_first_frame(gateway: Gateway, connect: Connect) -> None:
    """What comes in one turn of the event loop leaves together."""
    viewer = connect()
    await viewer.join("42")
    gateway.hub.push_to_room(push("42", 1))
    gateway.hub.push_to_room(push("42", 2))
    assert (await viewer.hear())[1]["items"] == [1, 2]
    assert gateway.counters.frames_encoded == 1


async def test_a_gap_is_given_up(gateway: Gateway, connect: Connect) -> None:
    """What stays missing is counted and the room goes on; what comes later is dropped."""
    viewer = connect()
    await viewer.join("42")
    gateway.hub.push_to_room(push("42", 2))
    async with asyncio.timeout(PATIENCE_S):
        while not gateway.counters.messages_missing:
            gateway.hub.expire_gaps()
            await asyncio.sleep(GAP_HOLD_S / 10)
    assert await viewer.items(1) == [2]
    gateway.hub.push_to_room(push("42", 1))
    gateway.hub.push_to_room(push("42", 3))
    assert await viewer.items(1) == [3]
    assert (gateway.counters.messages_missing, gateway.counters.messages_duplicate) == (1, 1)


async def test_large_batches_are_split(gateway: Gateway, connect: Connect) -> None:
    """More than fits in one frame goes out as several, in order, within one tick."""
    viewer = connect(buffer_bytes=4 * 1024 * 1024)
    await viewer.join("42")
    gateway.hub.push_to_room(push("42", 1, 30, size=DATA_MAX_BYTES - 10))
    frames = [await viewer.hear() for _ in range(4)]
    assert [len(data["items"]) for _, data in frames] == [8, 8, 8, 6]
    assert [data["seq"] for _, data in frames] == [8, 16, 24, 30]


async def test_any_number_of_frames_can_leave_in_one_tick(gateway: Gateway, connect: Connect) -> None:
    """However much waits, writing it is a loop: the depth of the stack does not depend on it."""
    viewer = connect()
    await viewer.join("42")
    # Changing the epoch starts a new frame every time.
    for epoch in range(100, 2100):
        gateway.hub.push_to_room(push("42", 1, epoch=epoch))
    assert await viewer.items(1) == [1]
    async with asyncio.timeout(PATIENCE_S):
        while gateway.counters.frames_encoded < 2000:
            await asyncio.sleep(0)
    assert gateway.counters.messages_batched == 2000


async def test_a_malformed_push_costs_only_itself(gateway: Gateway, positions: Positions, connect: Connect) -> None:
    """A block that is not what it says is counted; the next push of the room is delivered, held or early alike."""
    bad = RoomPush("42", EPOCH, 1, 0, 2, b"\xff")
    positions.held_back = True
    viewer = connect()
    viewer.say("JOIN", room="42")
    gateway.hub.push_to_room(bad)
    positions.answer()
    await viewer.hear()
    gateway.hub.push_to_room(push("42", 3))
    assert await viewer.items(1) == [3]
    assert gateway.counters.messages_malformed == 2


async def test_an_overloaded_room_says_what_it_shed(gateway: Gateway, connect: Connect) -> None:
    """Lossy messages beyond the room's bound are shed; the viewers are told how many, with the next frame."""
    viewer = connect(buffer_bytes=8 * 1024 * 1024)
    await viewer.join("42")
    for first in range(1, 302, 50):
        gateway.hub.push_to_room(push("42", first, 50, size=DATA_MAX_BYTES - 10))
    items, shed = 0, 0
    while items + shed < 350:
        kind, data = await viewer.hear()
        items += len(data["items"]) if kind == "PUSH" else 0
        shed += data["count"] if kind == "SHED" else 0
    assert 0 < shed < 350
    assert gateway.counters.shed == {"overload": shed}


async def test_every_message_is_accounted_for(gateway: Gateway, connect: Connect) -> None:
    """Received = duplicates + unheard + batched (+ shed + malformed), and deliveries are batched times viewers."""
    viewers = [connect() for _ in range(3)]
    for viewer in viewers:
        await viewer.join("42")
    for first in (1, 1, 2, 4, 3, 4):
        gateway.hub.push_to_room(push("42", first))
    gateway.hub.push_to_room(push("nobody", 1, 5))
    for viewer in viewers:
        assert await viewer.items(4) == [1, 2, 3, 4]
    c = gateway.counters
    assert (c.messages_received, c.messages_duplicate, c.messages_unheard, c.messages_batched) == (11, 2, 5, 4)
    assert (c.deliveries, c.frames_written) == (12, 3)


# -- fan-out in threads


async def crowd_of(connect: Connect, room: str, count: int) -> list[Client]:
    """Connect viewers that fill enough buckets for the threads to write them."""
    made = [connect() for _ in range(count)]
    for viewer in made:
        await viewer.join(room)
    return made


async def test_join_while_a_frame_is_being_written(gateway: Gateway, connect: Connect) -> None:
    """Whoever joins during the writing of a frame gets exactly what is behind the position it was told."""
    crowd = await crowd_of(connect, "42", 63)
    beginner, late = connect(), connect()
    assert beginner.connection.bucket not in {viewer.connection.bucket for viewer in crowd}
    assert late.connection.bucket is crowd[0].connection.bucket
    with crowd[1].connection.bucket.lock:
        gateway.hub.push_to_room(push("42", 1))
        assert await crowd[2].items(1) == [1]
        for viewer in (beginner, late):
            viewer.say("JOIN", room="42")
        gateway.hub.push_to_room(push("42", 2))
    for viewer in (beginner, late):
        kind, joined = await viewer.hear()
        assert kind == "JOINED", "the answer comes before any frame"
        expected = [seq for seq in (1, 2) if seq > joined["seq"]]
        assert expected
        assert await viewer.items(len(expected)) == expected
    for viewer in crowd:
        expected = [2] if viewer is crowd[2] else [1, 2]
        assert await viewer.items(len(expected)) == expected


async def test_messages_merge_while_a_frame_is_being_written(gateway: Gateway, connect: Connect) -> None:
    """When writing takes longer than a tick the next frame waits and takes along what came meanwhile."""
    crowd = await crowd_of(connect, "42", 64)
    blocked = crowd[0].connection.bucket
    with blocked.lock:
        gateway.hub.push_to_room(push("42", 1))
        assert await crowd[1].items(1) == [1]
        for first in range(2, 6):
            gateway.hub.push_to_room(push("42", first))
            await asyncio.sleep(0.03)
        assert crowd[1].heard() == []
    assert (await crowd[0].hear())[1]["items"] == [1]
    assert (await crowd[0].hear())[1]["items"] == [2, 3, 4, 5]


async def test_a_room_s_earlier_life_does_not_reach_its_next(
    gateway: Gateway, positions: Positions, connect: Connect
) -> None:
    """All viewers leave while a frame is on its way, one comes back: it hears of nothing before its position."""
    others = await crowd_of(connect, "other", 64)
    first, second = list(gateway.hub.rooms["other"].homes["json"])[-2:]
    crowd = [viewer for viewer in [connect() for _ in range(64)] if viewer.connection.bucket not in (first, second)]
    for viewer in crowd:
        await viewer.join("42")
    for seq in (1, 2, 3):
        gateway.hub.push_to_room(push("42", seq))
        assert await crowd[0].items(1) == [seq]
    back = crowd[5]
    await back.items(3)
    async with asyncio.timeout(PATIENCE_S):
        while gateway.counters.frames_written < 3 * len(crowd):
            await asyncio.sleep(0)
    with first.lock, second.lock:
        # Both threads stop at these two buckets, so the frame of the room `42` waits for its turn.
        gateway.hub.push_to_room(push("other", 1))
        async with asyncio.timeout(PATIENCE_S):
            while gateway.counters.frames_encoded < 4:
                await asyncio.sleep(0)
        gateway.hub.push_to_room(push("42", 4))
        async with asyncio.timeout(PATIENCE_S):
            while gateway.counters.frames_encoded < 5:
                await asyncio.sleep(0)
        for viewer in crowd:
            viewer.say("LEAVE", room="42")
        assert "42" not in gateway.hub.rooms
        assert (await back.hear())[0] == "LEFT"
        positions.known["42"] = (EPOCH, 4)
        assert (await back.join("42"))["seq"] == 4
    assert await others[0].items(1) == [1]
    gateway.hub.push_to_room(push("42", 5))
    assert await back.hear() == ("PUSH", {"room": "42", "items": [5], "seq": 5, "epoch": EPOCH})


# -- pushes without a room


async def test_broadcast_reaches_everybody_once(gateway: Gateway, connect: Connect) -> None:
    """A broadcast goes to every connection, in a room or not; its second copy goes to nobody."""
    viewers = [connect(), connect()]
    await viewers[0].join("42")
    gateway.hub.push_to_all(broadcast(1, b'"hi"', b"2"))
    gateway.hub.push_to_all(broadcast(1, b'"hi"', b"2"))
    for viewer in viewers:
        assert await viewer.hear() == ("PUSH", {"to": "all", "items": ["hi", 2]})
        assert viewer.heard() == []
    assert gateway.counters.messages_duplicate == 2


async def test_large_broadcasts_are_split(gateway: Gateway, connect: Connect) -> None:
    """No frame is over the limit, whatever was pushed; the order stays."""
    viewer = connect(buffer_bytes=4 * 1024 * 1024)
    items = [b'"%d%b"' % (number, b"x" * 10_000) for number in range(40)]
    gateway.hub.push_to_all(broadcast(1, *items))
    sizes: list[int] = []
    heard: list[str] = []
    while len(heard) < 40:
        _, data = await viewer.hear()
        sizes.append(sum(len(item) + 3 for item in data["items"]))
        heard += data["items"]
    assert [item.rstrip("x") for item in heard] == [str(number) for number in range(40)]
    assert max(sizes) <= FRAME_MAX_BYTES + 1
    assert len(sizes) == 4


async def test_broadcasts_keep_their_order(gateway: Gateway, connect: Connect) -> None:
    """Broadcasts one after the other arrive in that order at every connection."""
    crowd = [connect() for _ in range(64)]
    for number in range(1, 51):
        gateway.hub.push_to_all(broadcast(number, b"%d" % number))
    for viewer in crowd:
        assert await viewer.items(50) == list(range(1, 51))


async def test_a_reliable_broadcast_is_not_lossy(gateway: Gateway, connect: Connect) -> None:
    """A slow viewer's outbox keeps a reliable broadcast and sheds a lossy one."""
    viewer = connect(buffer_bytes=4096)
    for number in range(1, 30):
        gateway.hub.push_to_all(broadcast(number, b'"%b"' % (b"x" * 8_000)))
    block = encode_block([Message(b'"gift"', Delivery.RELIABLE)])
    gateway.hub.push_to_all(Broadcast(1, 30, 0, 1, block))
    heard: list[Any] = viewer.heard()
    assert viewer.is_behind()
    while viewer.is_behind():
        viewer.transport.flush()
        heard += viewer.heard()
    assert ("PUSH", {"to": "all", "items": ["gift"]}) in heard
    assert (heard[-1][0], heard[-1][1]["room"]) == ("SHED", "")
    assert sum(kind == "PUSH" for kind, _ in heard) + heard[-1][1]["count"] == 30


async def test_user_push_reaches_the_user_s_connections(gateway: Gateway, connect: Connect) -> None:
    """A push to a user goes to all connections of that user, once, and to nobody else's."""
    mine, also_mine, other = connect(), connect(), connect()
    for viewer, user in ((mine, "7"), (also_mine, "7"), (other, "8")):
        viewer.say("AUTH", token=token_of(user))
        assert (await viewer.hear())[1]["user"]["id"] == user
    gateway.hub.push_to_user(user_push("7", 1, b'"psst"'))
    gateway.hub.push_to_user(user_push("7", 1, b'"psst"'))
    gateway.hub.push_to_user(user_push("nobody", 2, b'"psst"'))
    for viewer in (mine, also_mine):
        assert await viewer.hear() == ("PUSH", {"to": "user", "items": ["psst"]})
        assert viewer.heard() == []
    assert other.heard() == []


async def test_a_connection_has_one_identity(gateway: Gateway, connect: Connect) -> None:
    """After a second AUTH pushes for the first user no longer come here."""
    viewer = connect()
    for user in ("7", "8"):
        viewer.say("AUTH", token=token_of(user))
        await viewer.hear()
    gateway.hub.push_to_user(user_push("7", 1, b"1"))
    gateway.hub.push_to_user(user_push("8", 2, b"2"))
    assert await viewer.items(1) == [2]
    assert viewer.heard() == []


async def test_nothing_follows_a_close(gateway: Gateway, connect: Connect) -> None:
    """An answer that comes from logic after the connection began to close is not sent."""
    viewer = connect()
    await viewer.join("42")
    viewer.connection.close(4000, "x")
    after = len(viewer.end.recv(4096))
    assert after > 0
    viewer.connection.send(b"late answer")
    gateway.hub.push_to_room(push("42", 1))
    gateway.hub.push_to_all(broadcast(1, b"1"))
    await asyncio.sleep(0)
    with pytest.raises(BlockingIOError):
        viewer.end.recv(1)


async def test_repr_tells_the_state(gateway: Gateway, connect: Connect) -> None:
    """The representations show how many there are."""
    viewer = connect()
    await viewer.join("42")
    assert repr(gateway) == "<Gateway <Hub connections=1 rooms=1 users=0> draining=False>"
    assert repr(gateway.hub.rooms["42"]) == "<Room 42 viewers=1 seq=0 pending=0>"

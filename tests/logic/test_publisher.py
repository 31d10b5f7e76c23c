"""The publisher with a real Redis and real links: order, sequences, both paths, idempotency, receipts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest
from redis.asyncio import Redis

from logic.model import DirectPushRequest, Idempotency, IdempotencyConflict, Reach, Receipt, Unavailable
from protocol.envelope import Broadcast, RoomPush, UserPush, decode, decode_block
from protocol.errors import LocalProtocolError
from protocol.message import Message
from protocol.names import UserId
from protocol.partitions import CHANNELS
from runtime.redis import Subscriber
from tests.logic.conftest import MakeGateway
from tests.logic.gateway_peer import GatewayPeer
from tests.logic.platform import Platform, messages, room_push
from tests.redis_server import RedisServer

MakePlatform = Callable[..., Awaitable[Platform]]


def sequences(pushes: Sequence[RoomPush]) -> list[int]:
    """Return every sequence in the order in which it came."""
    return [seq for push in pushes for seq in range(push.first_seq, push.first_seq + push.count)]


def texts(pushes: Sequence[RoomPush]) -> list[str]:
    """Return every message's text in the order in which it came."""
    return [message.data.decode().strip('"') for push in pushes for message in decode_block(push.block, push.count)]


async def all_of(gateway: GatewayPeer, count: int) -> None:
    """Wait until the gateway has so many room messages."""
    await gateway.until(lambda peer: sum(push.count for push in peer.pushes()) >= count)


class Listener:
    """A gateway's subscription to Redis."""

    def __init__(self) -> None:
        self.raw: list[bytes] = []
        self.ready = asyncio.Event()
        self.heard = asyncio.Event()

    def on_message(self, channel: str, payload: bytes) -> None:
        self.raw.append(payload)
        self.heard.set()

    def on_state(self, ok: bool) -> None:
        if ok:
            self.ready.set()


async def test_a_receipt_tells_what_happened(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A push gets consecutive sequences, its room's epoch, and the gateways that acknowledged it."""
    one, two = await gateway("one"), await gateway("two", instance=8)
    logic = await platform(one, two, over_redis=False)
    first = await logic.publisher.publish(room_push("r", "a", "b"))
    second = await logic.publisher.publish(room_push("r", "c"))
    other = await logic.publisher.publish(room_push("s", "x"))
    assert first == Receipt(2, Reach(2, 0), 1, 2, first.epoch)
    assert second == Receipt(1, Reach(2, 0), 3, 3, first.epoch)
    assert (other.first_seq, other.last_seq) == (1, 1)
    assert first.epoch > 0
    for peer in (one, two):
        assert texts([push for push in peer.pushes() if push.room == "r"]) == ["a", "b", "c"]


async def test_both_paths_carry_the_same_bytes(
    gateway: MakeGateway, platform: MakePlatform, shared_redis: RedisServer
) -> None:
    """What a gateway gets from Redis and what it gets over the link is equal, byte for byte, for every kind of push."""
    peer, listener = await gateway(), Listener()
    subscriber = Subscriber(shared_redis.url, CHANNELS, on_message=listener.on_message, on_state=listener.on_state)
    await subscriber.start()
    await listener.ready.wait()
    logic = await platform(peer)
    receipts = [
        await logic.publisher.publish(push)
        for push in (
            room_push("r", "a", "前排!"),
            DirectPushRequest(None, messages("all")),
            DirectPushRequest(UserId("u@7"), messages("one")),
        )
    ]
    while len(listener.raw) < 3:
        listener.heard.clear()
        await listener.heard.wait()
    await subscriber.stop()
    assert listener.raw == peer.pushes_raw()
    assert [receipt.reach for receipt in receipts] == [Reach(1, 0)] * 3
    assert [type(decode(raw)) for raw in listener.raw] == [RoomPush, Broadcast, UserPush]


async def test_redis_alone_is_a_path(platform: MakePlatform, gateway: MakeGateway, shared_redis: RedisServer) -> None:
    """Without the link as a path nothing of a push goes on it, and Redis says how many gateways were reached."""
    peer, listener = await gateway(), Listener()
    subscriber = Subscriber(shared_redis.url, CHANNELS, on_message=listener.on_message, on_state=listener.on_state)
    await subscriber.start()
    await listener.ready.wait()
    logic = await platform(peer, over_links=False)
    receipt = await logic.publisher.publish(room_push("r", "a"))
    await subscriber.stop()
    missed = await logic.publisher.publish(room_push("r", "b"))
    assert (receipt.reach, missed.reach) == (Reach(1, 0), Reach(0, 1))
    assert peer.pushes() == []


async def test_the_link_alone_is_a_path(platform: MakePlatform, gateway: MakeGateway, redis: Redis) -> None:
    """Without Redis as a path nothing is published there."""
    logic = await platform(await gateway(), over_redis=False)
    await logic.publisher.publish(room_push("r", "a"))
    stats = await redis.info("commandstats")
    before = {name: stats.get(name, {}).get("calls", 0) for name in ("cmdstat_publish", "cmdstat_spublish")}
    await logic.publisher.publish(room_push("r", "b"))
    stats = await redis.info("commandstats")
    assert {name: stats.get(name, {}).get("calls", 0) for name in before} == before


async def test_pushes_of_one_moment_share_an_envelope(platform: MakePlatform, gateway: MakeGateway) -> None:
    """Pushes submitted together go out merged, and each gets its own part of the sequences, in order."""
    peer = await gateway()
    logic = await platform(peer)
    futures = [logic.publisher.submit(room_push("r", *"ab"[: 1 + number % 2])) for number in range(100)]
    receipts = await asyncio.gather(*futures)
    assert len(peer.pushes()) == 1
    assert [seq for r in receipts for seq in range(r.first_seq, r.last_seq + 1)] == list(range(1, 151))
    assert {receipt.reach for receipt in receipts} == {Reach(1, 0)}
    assert logic.metrics.tally.flushes == 1


async def test_a_room_keeps_the_order_of_submission(platform: MakePlatform, gateway: MakeGateway) -> None:
    """Whatever is in flight at once, the messages of a room arrive in the order in which they were submitted."""
    peer = await gateway()
    logic = await platform(peer)
    futures = []
    for number in range(3000):
        key = f"k{number}" if number % 7 == 0 else None
        futures.append(logic.publisher.submit(room_push(f"r{number % 3}", str(number), key=key)))
        if number % 50 == 0:
            await asyncio.sleep(0)
    await asyncio.gather(*futures)
    await all_of(peer, 3000)
    for room in range(3):
        pushes = [push for push in peer.pushes() if push.room == f"r{room}"]
        assert sequences(pushes) == list(range(1, 1001))
        assert texts(pushes) == [str(number) for number in range(room, 3000, 3)]


async def test_two_logics_share_a_room(platform: MakePlatform, gateway: MakeGateway) -> None:
    """Two logics publishing to one room at once leave no gap and no duplicate, and each sends its part in order."""
    peers = [await gateway("one"), await gateway("two", instance=8)]
    logics = [await platform(peer) for peer in peers]

    async def publish(logic: Platform, name: str) -> None:
        for start in range(0, 2500, 25):
            futures = [logic.publisher.submit(room_push("r", f"{name}{start + offset}")) for offset in range(25)]
            await asyncio.gather(*futures)

    await asyncio.gather(*(publish(logic, name) for logic, name in zip(logics, "ab", strict=True)))
    for peer in peers:
        await all_of(peer, 2500)
    parts = [sequences(peer.pushes()) for peer in peers]
    assert sorted(parts[0] + parts[1]) == list(range(1, 5001))
    assert all(part == sorted(part) for part in parts)
    assert parts[0] != list(range(1, 2501)), "the two did not overlap, so this run shows nothing"
    assert texts(peers[0].pushes()) == [f"a{number}" for number in range(2500)]


async def test_a_retry_publishes_once(platform: MakePlatform, gateway: MakeGateway) -> None:
    """A retry gets the first receipt, marked as replayed, and its envelope goes on the links once more."""
    peer = await gateway()
    logic = await platform(peer)
    first = await logic.publisher.publish(room_push("r", "a", "b", key="k"))
    await logic.publisher.publish(room_push("r", "c"))
    again = await logic.publisher.publish(room_push("r", "a", "b", key="k"))
    assert (again.first_seq, again.last_seq, again.epoch) == (1, 2, first.epoch)
    assert (first.replayed, again.replayed) == (False, True)
    assert sequences(peer.pushes()) == [1, 2, 3, 1, 2]
    assert texts(peer.pushes()) == ["a", "b", "c", "a", "b"]


async def test_a_retry_through_another_logic_publishes_once(platform: MakePlatform, gateway: MakeGateway) -> None:
    """An idempotency key holds for all logics, for direct pushes too."""
    peer = await gateway()
    one, two = await platform(peer), await platform(peer)
    receipts = [await logic.publisher.publish(room_push("r", "a", key="k")) for logic in (one, two)]
    assert [(receipt.first_seq, receipt.replayed) for receipt in receipts] == [(1, False), (1, True)]
    direct = DirectPushRequest(None, messages("x"), Idempotency("shop", "k", "f"))
    receipts = [await logic.publisher.publish(direct) for logic in (one, two)]
    assert [receipt.replayed for receipt in receipts] == [False, True]
    casts = [envelope for envelope in peer.envelopes if isinstance(envelope, Broadcast)]
    assert len(casts) == 2
    assert len({(cast.instance, cast.counter) for cast in casts}) == 1


async def test_the_same_key_at_the_same_moment_publishes_once(platform: MakePlatform, gateway: MakeGateway) -> None:
    """Of concurrent pushes under one key, over two logics, exactly one is published and all get its sequences."""
    peer = await gateway()
    logics = [await platform(peer), await platform(peer)]
    futures = [logics[number % 2].publisher.submit(room_push("r", "a", key="k")) for number in range(40)]
    receipts = await asyncio.gather(*futures)
    assert {(receipt.first_seq, receipt.last_seq) for receipt in receipts} == {(1, 1)}
    assert sum(not receipt.replayed for receipt in receipts) == 1
    assert (await logics[0].publisher.publish(room_push("r", "b"))).first_seq == 2


async def test_another_push_under_a_key_is_refused(platform: MakePlatform, gateway: MakeGateway) -> None:
    """A key that stands for another push is a conflict: nothing is published, and neighbours are not affected."""
    peer = await gateway()
    logic = await platform(peer)
    await logic.publisher.publish(room_push("r", "a", key="k"))
    conflict, neighbour = (
        logic.publisher.submit(room_push("r", "b", key="k", fingerprint="g")),
        logic.publisher.submit(room_push("r", "c")),
    )
    with pytest.raises(IdempotencyConflict):
        await conflict
    assert (await neighbour).first_seq == 2
    assert texts(peer.pushes()) == ["a", "c"]


async def test_a_key_belongs_to_its_target_and_owner(platform: MakePlatform) -> None:
    """The same key for another room, or of another publisher, is another push."""
    logic = await platform()
    other_owner = room_push("r", "a")
    receipts = [
        await logic.publisher.publish(push)
        for push in (
            room_push("r", "a", key="k"),
            room_push("s", "a", key="k"),
            type(other_owner)(other_owner.room, other_owner.messages, Idempotency("bank", "k", "f")),
        )
    ]
    assert [(receipt.first_seq, receipt.replayed) for receipt in receipts] == [(1, False), (1, False), (2, False)]


async def test_direct_pushes_are_numbered(platform: MakePlatform, gateway: MakeGateway) -> None:
    """Direct pushes have no sequence; gateways tell them apart by the logic's instance and its counter."""
    peer = await gateway()
    logic = await platform(peer)
    receipts = [await logic.publisher.publish(DirectPushRequest(UserId("u"), messages("x"))) for _ in range(3)]
    assert receipts == [Receipt(1, Reach(1, 0))] * 3
    pushes = [envelope for envelope in peer.envelopes if isinstance(envelope, UserPush)]
    assert [push.counter for push in pushes] == [1, 2, 3]
    assert {push.user for push in pushes} == {"u"}
    assert len({push.instance for push in pushes}) == 1


async def test_a_full_push_passes(platform: MakePlatform, gateway: MakeGateway) -> None:
    """A thousand messages, and a mebibyte, in one push reach the gateway whole."""
    peer = await gateway()
    logic = await platform(peer)
    many = await logic.publisher.publish(room_push("r", *map(str, range(1000))))
    large = await logic.publisher.publish(room_push("r", *["x" * 16_000] * 64))
    assert (many.last_seq, large.last_seq) == (1000, 1064)
    assert len(texts(peer.pushes())) == 1064


@pytest.mark.parametrize("count", [0, 1001])
async def test_a_push_outside_the_limits_is_our_mistake(platform: MakePlatform, count: int) -> None:
    """What the API must not let through is refused in the future, not by an exception of submit."""
    logic = await platform()
    future = logic.publisher.submit(room_push("r", *["x"] * count))
    with pytest.raises(LocalProtocolError, match=f"{count} messages"):
        await future


async def test_too_much_waiting_is_refused_at_once(platform: MakePlatform) -> None:
    """Beyond its bound the publisher refuses, saying that nothing was published; what it took is published."""
    logic = await platform(pending_messages=10)
    futures = [logic.publisher.submit(room_push("r", str(number))) for number in range(12)]
    assert [future.done() for future in futures] == [False] * 10 + [True] * 2
    with pytest.raises(Unavailable, match="10 messages are waiting for Redis, it was not published"):
        await futures[10]
    assert isinstance(futures[11].exception(), Unavailable)
    assert (await futures[9]).last_seq == 10
    assert (await logic.publisher.publish(room_push("r", "later"))).last_seq == 11


async def test_a_cancelled_future_takes_nothing_back(platform: MakePlatform, gateway: MakeGateway) -> None:
    """A caller that went away does not disturb its neighbours, and what it pushed is published."""
    peer = await gateway()
    logic = await platform(peer)
    gone, stays = logic.publisher.submit(room_push("r", "a")), logic.publisher.submit(room_push("r", "b"))
    gone.cancel()
    assert (await stays).first_seq == 2
    assert texts(peer.pushes()) == ["a", "b"]


async def test_stop_finishes_what_was_taken(platform: MakePlatform, gateway: MakeGateway) -> None:
    """A stopping publisher takes nothing new and gives everything it took its outcome."""
    peer = await gateway()
    logic = await platform(peer)
    futures = [logic.publisher.submit(room_push(f"r{number % 9}", str(number))) for number in range(500)]
    stopping = asyncio.ensure_future(logic.publisher.stop())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable, match="stopping"):
        await logic.publisher.publish(room_push("r", "late"))
    await stopping
    assert all(future.done() for future in futures)
    assert sum(future.result().accepted for future in futures) == 500
    assert len(texts(peer.pushes())) == 500


async def test_the_numbers_add_up(platform: MakePlatform, gateway: MakeGateway) -> None:
    """Every push taken is published, replayed, conflicting or unavailable."""
    logic = await platform(await gateway())
    await logic.publisher.publish(room_push("r", "a", "b", key="k"))
    await logic.publisher.publish(room_push("r", "a", "b", key="k"))
    with pytest.raises(IdempotencyConflict):
        await logic.publisher.publish(room_push("r", "c", key="k", fingerprint="g"))
    tally = logic.metrics.tally
    assert (tally.pushes_accepted, tally.pushes_published, tally.pushes_replayed) == (3, 1, 1)
    assert (tally.pushes_conflicting, tally.pushes_unavailable, tally.messages_published) == (1, 0, 2)
    assert (logic.publisher.waiting_messages, logic.publisher.waiting_bytes) == (0, 0)


async def test_data_travels_unchanged(platform: MakePlatform, gateway: MakeGateway) -> None:
    """A message's bytes are the publisher's, odd spacing included."""
    peer = await gateway()
    logic = await platform(peer)
    push = type(room_push("r", "a"))(room_push("r", "a").room, [Message(b'{ "a" : 1.0e0 }')])
    await logic.publisher.publish(push)
    (got,) = peer.pushes()
    assert decode_block(got.block, 1)[0].data == b'{ "a" : 1.0e0 }'

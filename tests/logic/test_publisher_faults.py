"""The publisher when Redis or a gateway fails."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from logic.model import DirectPushRequest, Reach, Receipt, Unavailable
from protocol.names import Room
from protocol.partitions import room_key
from tests.logic.conftest import MakeGateway
from tests.logic.platform import Platform, messages, room_push
from tests.redis_server import RedisServer

MakePlatform = Callable[..., Awaitable[Platform]]


async def test_a_dead_redis_is_said_and_survived(
    platform: MakePlatform, gateway: MakeGateway, own_redis: RedisServer
) -> None:
    """Without Redis pushes are refused; with Redis back, empty, the room goes on in a new epoch."""
    peer = await gateway()
    logic = await platform(peer, url=own_redis.url)
    before = await logic.publisher.publish(room_push("r", "a"))
    own_redis.kill()
    for push in (room_push("r", "b"), DirectPushRequest(None, messages("b"))):
        with pytest.raises(Unavailable, match="Redis did not answer"):
            await logic.publisher.publish(push)
    own_redis.start()
    after = await logic.publisher.publish(room_push("r", "c"))
    assert after.first_seq == 1
    assert after.epoch > before.epoch
    assert [(push.epoch, push.first_seq) for push in peer.pushes()] == [(before.epoch, 1), (after.epoch, 1)]
    assert logic.metrics.tally.pushes_unavailable == 2


async def test_an_uncertain_outcome_is_called_so(platform: MakePlatform, own_redis: RedisServer) -> None:
    """A push that was on its way when Redis died may have been published, one that still waited was not."""
    logic = await platform(url=own_redis.url)
    await logic.publisher.publish(room_push("r", "a"))
    own_redis.pause()
    sent = logic.publisher.submit(room_push("r", "b"))
    while logic.publisher.queued:
        await asyncio.sleep(0)
    waiting = logic.publisher.submit(room_push("r", "c"))
    own_redis.resume()
    own_redis.kill()
    with pytest.raises(Unavailable, match="may or may not have been published"):
        await sent
    with pytest.raises(Unavailable, match="was not published"):
        await waiting


async def test_a_redis_that_refuses_is_said(
    platform: MakePlatform, gateway: MakeGateway, own_redis: RedisServer
) -> None:
    """What Redis refuses for want of memory was not published; reads of the outcome say why."""
    logic = await platform(await gateway(), url=own_redis.url)
    await logic.publisher.publish(room_push("r", "a"))
    await logic.client.config_set("maxmemory", "1")
    with pytest.raises(Unavailable, match=r"Redis refused it \(OOM\); it was not published"):
        await logic.publisher.publish(room_push("r", "b"))
    await logic.client.config_set("maxmemory", "0")
    assert (await logic.publisher.publish(room_push("r", "c"))).first_seq == 2


async def test_a_damaged_key_harms_its_room_only(platform: MakePlatform, gateway: MakeGateway) -> None:
    """A room whose key is of another type is refused; the others of the same flush are published."""
    logic = await platform(await gateway())
    await logic.publisher.publish(room_push("r", "a"))
    await logic.client.set(room_key(Room("r")), "not a hash")
    bad, good = logic.publisher.submit(room_push("r", "a")), logic.publisher.submit(room_push("s", "a"))
    with pytest.raises(Unavailable, match="WRONGTYPE"):
        await bad
    assert (await good).first_seq == 1


async def test_a_gateway_that_does_not_answer_is_counted(platform: MakePlatform, gateway: MakeGateway) -> None:
    """A gateway that does not acknowledge in time counts as failed, and delays one push, not every push."""
    good, silent = await gateway("good"), await gateway("silent", instance=8, acknowledges=False)
    logic = await platform(good, silent, over_redis=False, ack_timeout_s=0.3)
    first = await logic.publisher.publish(room_push("r", "a"))
    assert first.reach == Reach(1, 1)
    loop, began = asyncio.get_running_loop(), asyncio.get_running_loop().time()
    for _ in range(5):
        assert (await logic.publisher.publish(room_push("r", "b"))).reach == Reach(1, 1)
    assert loop.time() - began < 0.3
    silent.link.acknowledge()
    silent.acknowledges = True
    # What was acknowledged travels before the next acknowledgement, so this push or the one after it sees both.
    await logic.publisher.publish(room_push("r", "c"))
    assert (await logic.publisher.publish(room_push("r", "d"))).reach == Reach(2, 0)


async def test_a_gateway_that_is_away_is_counted(platform: MakePlatform, gateway: MakeGateway) -> None:
    """A gateway that is known but has no link counts as failed."""
    good, away = await gateway("good"), await gateway("away", instance=8)
    logic = await platform(good, away, over_redis=False)
    await away.stop()
    while len(logic.links.up()) > 1:
        await asyncio.sleep(0)
    assert (await logic.publisher.publish(room_push("r", "a"))).reach == Reach(1, 1)


async def test_a_link_lost_in_the_middle_ends_the_waiting(platform: MakePlatform, gateway: MakeGateway) -> None:
    """A link that is cut while its acknowledgement is awaited is not awaited any longer."""
    good, dying = await gateway("good"), await gateway("dying", instance=8, acknowledges=False)
    logic = await platform(good, dying, over_redis=False, ack_timeout_s=30)
    future = logic.publisher.submit(room_push("r", "a"))
    await dying.until(lambda peer: peer.pushes())
    assert not future.done()
    await dying.stop()
    receipt: Receipt = await asyncio.wait_for(future, 10)
    assert receipt.reach == Reach(1, 1)


async def test_a_slow_gateway_slows_nobody(platform: MakePlatform, gateway: MakeGateway) -> None:
    """A gateway that does not read costs a bounded queue; the others get everything, and it is served again later."""
    good, slow = await gateway("good"), await gateway("slow", instance=8)
    limit = 1024 * 1024
    logic = await platform(good, slow, over_redis=False, ack_timeout_s=0.3, queue_bytes=limit)
    slow.link.stream.pause_reading()
    push = room_push("r", *["x" * 10_000] * 50)
    for _ in range(60):
        await logic.publisher.publish(push)
    await good.until(lambda peer: sum(push.count for push in peer.pushes()) == 3000)
    (stuck,) = [link for link in logic.links.up() if link.name == "slow"]
    assert stuck.queued_bytes <= limit
    assert stuck.refused == logic.links.refused > 0
    slow.link.stream.resume_reading()
    await slow.until(lambda peer: sum(push.count for push in peer.pushes()) == 50 * (60 - stuck.refused))
    assert (await logic.publisher.publish(room_push("r", "again"))).reach == Reach(2, 0)

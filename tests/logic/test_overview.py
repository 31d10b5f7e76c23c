"""What the platform looks like from a logic."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from k8s.peers import Peer, peer_set
from logic.model import GatewayInfo, RoomInfo, Unavailable
from logic.overview import PlatformOverview
from protocol.names import Room
from tests.logic.conftest import MakeGateway
from tests.logic.platform import Platform, room_push
from tests.redis_server import RedisServer

MakePlatform = Callable[..., Awaitable[Platform]]


def overview(logic: Platform) -> PlatformOverview:
    """Return the overview of a logic."""
    return PlatformOverview(logic.client, logic.counts, logic.links, logic.metrics)


async def test_a_room_is_counted_and_placed(platform: MakePlatform) -> None:
    """A room's viewers come from the gateways, its position from Redis; a room nobody pushed to has none."""
    logic = await platform()
    logic.counts.snapshot("g", 5, [("r", 4), ("s", 1)])
    receipt = await logic.publisher.publish(room_push("r", "a", "b"))
    assert await overview(logic).room(Room("r")) == RoomInfo("r", 4, seq=2, epoch=receipt.epoch)
    assert await overview(logic).room(Room("none")) == RoomInfo("none", 0)
    assert overview(logic).top_rooms(1) == [RoomInfo("r", 4)]


async def test_a_room_without_redis_is_unavailable(platform: MakePlatform, own_redis: RedisServer) -> None:
    """A position that cannot be read is said, not invented."""
    logic = await platform(url=own_redis.url)
    own_redis.kill()
    with pytest.raises(Unavailable, match="Redis did not answer"):
        await overview(logic).room(Room("r"))


async def test_every_known_gateway_is_listed(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A gateway is listed by name, whether it is linked or only known."""
    peer = await gateway("b")
    logic = await platform(peer)
    async with asyncio.timeout(10):
        while not logic.links.up():
            await asyncio.sleep(0)
    logic.counts.snapshot("b", 5, [("r", 4), ("s", 1)])
    logic.links.follow(peer_set([peer.peer, Peer("a", "127.0.0.1:1")]))
    away, linked = overview(logic).gateways()
    assert away == GatewayInfo("a", "127.0.0.1:1", False, 0, 0, 0)
    assert linked == GatewayInfo("b", peer.peer.address, True, 5, 2, 0)


async def test_stats_are_the_counters(platform: MakePlatform) -> None:
    """The numbers for people are those for Prometheus."""
    logic = await platform()
    await logic.publisher.publish(room_push("r", "a", "b"))
    stats = overview(logic).stats()
    assert (stats["pushes_published"], stats["messages_published"]) == (1, 2)

"""Counts up, totals down."""

import asyncio
from collections.abc import Awaitable, Callable

from protocol.envelope import Totals
from tests.logic.conftest import MakeGateway
from tests.logic.gateway_peer import GatewayPeer
from tests.logic.platform import Platform

MakePlatform = Callable[..., Awaitable[Platform]]


def told(peer: GatewayPeer) -> dict[str, int]:
    """Return what the gateway knows of the totals."""
    return {room: count for totals in peer.totals() for room, count in totals.rooms}


async def settled(logic: Platform, condition: Callable[[Platform], object]) -> None:
    """Wait until what the logic knows is as the condition says."""
    async with asyncio.timeout(10):
        while not condition(logic):
            await asyncio.sleep(0.005)


async def test_gateways_are_told_the_sums_of_their_rooms(gateway: MakeGateway, platform: MakePlatform) -> None:
    """Who asks is told the totals of the rooms it holds, all after a snapshot and later those that changed."""
    one, two = await gateway("one"), await gateway("two", instance=8)
    logic = await platform(one, two)
    one.count({"a": 1, "b": 2}, snapshot=True, wants_totals=True)
    two.count({"a": 10, "c": 5}, snapshot=True)
    await one.until(lambda peer: told(peer) == {"a": 11, "b": 2})
    before = len(one.totals())
    two.count({"a": 4, "c": 7})
    await one.until(lambda peer: told(peer) == {"a": 5, "b": 2})
    assert [totals.rooms for totals in one.totals()[before:]] == [(("a", 5),)]
    assert two.totals() == []
    assert logic.counts.total("c") == 7


async def test_changes_of_a_moment_are_told_together(gateway: MakeGateway, platform: MakePlatform) -> None:
    """Totals are sent once an interval, whatever number of reports came."""
    one, two = await gateway("one"), await gateway("two", instance=8)
    await platform(one, two)
    one.count({"a": 1}, snapshot=True, wants_totals=True)
    await one.until(lambda peer: told(peer) == {"a": 1})
    before = len(one.totals())
    for viewers in range(1, 101):
        two.count({"a": viewers})
    await one.until(lambda peer: told(peer) == {"a": 101})
    assert len(one.totals()) - before <= 2


async def test_asking_later_is_answered_whole(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A gateway whose former teller of totals is gone asks this logic and is told all its rooms."""
    peer = await gateway()
    logic = await platform(peer)
    peer.count({"a": 1, "b": 2}, snapshot=True)
    await settled(logic, lambda logic: logic.counts.room_count() == 2)
    assert peer.totals() == []
    peer.count({}, wants_totals=True)
    await peer.until(lambda peer: told(peer) == {"a": 1, "b": 2})


async def test_an_empty_room_is_no_longer_told(gateway: MakeGateway, platform: MakePlatform) -> None:
    """Who has left a room is not told its total any more."""
    one, two = await gateway("one"), await gateway("two", instance=8)
    logic = await platform(one, two)
    one.count({"a": 1, "b": 1}, snapshot=True, wants_totals=True)
    await one.until(lambda peer: told(peer) == {"a": 1, "b": 1})
    one.count({"a": 0}, wants_totals=True)
    await settled(logic, lambda logic: logic.counts.total("a") == 0)
    before = len(one.totals())
    two.count({"a": 3, "b": 3})
    await one.until(lambda peer: told(peer).get("b") == 4)
    assert all(room != "a" for totals in one.totals()[before:] for room, _ in totals.rooms)


async def test_a_gateway_that_leaves_is_forgotten_at_once(gateway: MakeGateway, platform: MakePlatform) -> None:
    """The viewers of a gateway that said farewell are gone with it, and the others are told."""
    one, two = await gateway("one"), await gateway("two", instance=8)
    logic = await platform(one, two, grace_s=3600)
    one.count({"a": 1}, snapshot=True, wants_totals=True)
    two.count({"a": 10}, snapshot=True)
    await one.until(lambda peer: told(peer) == {"a": 11})
    two.refuses = True
    two.link.stream.end()
    await one.until(lambda peer: told(peer) == {"a": 1})
    assert logic.counts.connections == 1


async def test_a_lost_gateways_viewers_stay_for_a_while(gateway: MakeGateway, platform: MakePlatform) -> None:
    """The viewers of a gateway that was cut off are counted until its time to return is over."""
    peer = await gateway()
    logic = await platform(peer)
    peer.count({"a": 5}, snapshot=True)
    await settled(logic, lambda logic: logic.counts.total("a") == 5)
    await peer.stop()
    await settled(logic, lambda logic: not logic.links.up())
    assert logic.counts.total("a") == 5
    await settled(logic, lambda logic: logic.counts.total("a") == 0)
    assert logic.counts.connections == 0


async def test_a_gateway_that_returns_in_time_loses_nobody(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A gateway back before its time keeps its viewers until its snapshot replaces them, and for good after it."""
    peer = await gateway()
    logic = await platform(peer, grace_s=0.6)
    peer.count({"a": 5}, snapshot=True)
    await settled(logic, lambda logic: logic.counts.total("a") == 5)
    await peer.stop()
    await settled(logic, lambda logic: not logic.links.up())
    await peer.start()
    await settled(logic, lambda logic: logic.links.up())
    assert logic.counts.total("a") == 5
    peer.count({"a": 6, "b": 1}, snapshot=True)
    await settled(logic, lambda logic: logic.counts.total("a") == 6)
    loop = asyncio.get_running_loop()
    over = loop.time() + 0.7
    await settled(logic, lambda logic: loop.time() > over)
    assert logic.counts.totals(["a", "b"]) == [("a", 6), ("b", 1)]


async def test_a_new_process_begins_with_nobody(gateway: MakeGateway, platform: MakePlatform) -> None:
    """Another instance under the same name has none of its predecessor's viewers."""
    peer = await gateway()
    logic = await platform(peer, grace_s=3600)
    peer.count({"a": 5}, snapshot=True)
    await settled(logic, lambda logic: logic.counts.total("a") == 5)
    await peer.stop()
    peer.instance = 70
    await peer.start()
    await settled(logic, lambda logic: logic.counts.total("a") == 0)


async def test_many_rooms_are_told_in_parts(gateway: MakeGateway, platform: MakePlatform) -> None:
    """Totals of more rooms than an envelope may hold come in several."""
    peer = await gateway()
    await platform(peer)
    rooms = {f"{number:0>120}": 1 for number in range(9_000)}
    for start in range(0, 9_000, 3_000):
        part = dict(list(rooms.items())[start : start + 3_000])
        peer.count(part, snapshot=start == 0, wants_totals=start == 6_000)
    await peer.until(lambda peer: told(peer) == rooms)
    assert len(peer.totals()) == 3
    assert all(isinstance(totals, Totals) for totals in peer.totals())

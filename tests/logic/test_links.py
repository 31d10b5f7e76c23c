"""Links: dialling, losing, dialling again, leaving, and gateways that break the protocol."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from k8s.peers import peer_set
from logic.model import Reach
from protocol.envelope import Ack, Counts, Envelope, Hello, Totals, Unknown
from tests.logic.conftest import MakeGateway
from tests.logic.gateway_peer import GatewayPeer
from tests.logic.platform import Platform, room_push

MakePlatform = Callable[..., Awaitable[Platform]]


async def changed(logic: Platform, condition: Callable[[Platform], object]) -> None:
    """Wait until the links are as the condition says."""
    event = asyncio.Event()
    logic.links.on_change = event.set
    async with asyncio.timeout(10):
        while not condition(logic):
            event.clear()
            await event.wait()


async def up(logic: Platform, count: int) -> None:
    """Wait until so many links are up."""
    await changed(logic, lambda logic: len(logic.links.up()) == count)


async def test_both_sides_introduce_themselves(gateway: MakeGateway, platform: MakePlatform) -> None:
    """The first envelope down is our Hello, and a link is up once the gateway's Hello is there."""
    peer = await gateway("g-1", instance=99)
    logic = await platform(peer)
    await up(logic, 1)
    hello = peer.envelopes[0]
    assert isinstance(hello, Hello)
    assert hello.name == "logic"
    assert hello.instance > 0
    (link,) = logic.links.up()
    assert (link.name, link.instance) == ("g-1", 99)


async def test_a_cut_link_is_dialled_again(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A gateway that crashed and came back on its address is linked again and gets pushes."""
    peer = await gateway()
    logic = await platform(peer, over_redis=False)
    await logic.publisher.publish(room_push("r", "a"))
    await peer.stop()
    await up(logic, 0)
    await peer.start()
    await up(logic, 1)
    assert (await logic.publisher.publish(room_push("r", "b"))).reach == Reach(1, 0)
    assert peer.accepted == 2
    assert [push.first_seq for push in peer.pushes()] == [1, 2]


async def test_acknowledgements_begin_anew_with_a_link(gateway: MakeGateway, platform: MakePlatform) -> None:
    """Counts of acknowledged pushes belong to one link: the next one starts from nothing."""
    peer = await gateway()
    logic = await platform(peer, over_redis=False)
    for _ in range(3):
        await logic.publisher.publish(room_push("r", "a"))
    await peer.stop()
    await up(logic, 0)
    await peer.start()
    await up(logic, 1)
    assert (await logic.publisher.publish(room_push("r", "b"))).reach == Reach(1, 0)
    assert peer.link.taken == 1


async def test_a_gateway_that_refuses_is_tried_again(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A refusal is an answer, not the end: the reason is kept for people and dialling goes on."""
    peer = await gateway(refuses=True)
    logic = await platform()
    logic.links.follow(peer_set([peer.peer]))
    (dialler,) = logic.links.diallers()
    async with asyncio.timeout(10):
        while "503" not in dialler.reason:
            await asyncio.sleep(0.01)
    assert (logic.links.known, logic.links.up()) == (1, [])
    peer.refuses = False
    await up(logic, 1)


async def test_a_wrong_token_is_refused(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A gateway with another token never gets a push, and the reason says so."""
    peer = await gateway()
    logic = await platform(token="another-token-entirely")
    logic.links.follow(peer_set([peer.peer]))
    (dialler,) = logic.links.diallers()
    async with asyncio.timeout(10):
        while "401" not in dialler.reason:
            await asyncio.sleep(0.01)
    assert peer.accepted == 0


async def test_a_living_link_outlives_the_list(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A gateway that left the list keeps its link and gets pushes; once lost it is not dialled again."""
    peer = await gateway()
    logic = await platform(peer, over_redis=False)
    await up(logic, 1)
    logic.links.follow(frozenset())
    assert (await logic.publisher.publish(room_push("r", "a"))).reach == Reach(1, 0)
    await peer.stop()
    await changed(logic, lambda logic: logic.links.known == 0)
    await peer.start()
    assert (await logic.publisher.publish(room_push("r", "b"))).reach == Reach(0, 0)
    assert peer.accepted == 1


async def test_a_gateway_back_in_the_list_is_dialled_again(gateway: MakeGateway, platform: MakePlatform) -> None:
    """Leaving the list and coming back changes nothing for a living link, and revives a lost one."""
    peer = await gateway()
    logic = await platform(peer)
    await up(logic, 1)
    logic.links.follow(frozenset())
    logic.links.follow(peer_set([peer.peer]))
    assert peer.accepted == 1
    logic.links.follow(frozenset())
    await peer.stop()
    await up(logic, 0)
    await peer.start()
    logic.links.follow(peer_set([peer.peer]))
    await up(logic, 1)
    assert peer.accepted == 2


async def test_a_gateway_at_a_new_address_is_dialled_there(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A restarted gateway with a new address is linked there; the old process keeps its link until it goes."""
    old, new = await gateway("g"), await gateway("g", instance=8)
    logic = await platform(old, over_redis=False)
    await up(logic, 1)
    logic.links.follow(peer_set([new.peer]))
    await up(logic, 2)
    assert (await logic.publisher.publish(room_push("r", "a"))).reach == Reach(2, 0)
    await old.stop()
    await changed(logic, lambda logic: logic.links.known == 1)
    assert (await logic.publisher.publish(room_push("r", "b"))).reach == Reach(1, 0)


async def test_a_gateway_that_says_farewell_is_answered(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A gateway that ends its half of the link gets our end, and the link is over."""
    peer = await gateway()
    logic = await platform(peer)
    await up(logic, 1)
    peer.refuses = True
    peer.link.stream.end()
    await up(logic, 0)
    await peer.until(lambda peer: peer.farewells == 1 and not peer.links)


async def test_stop_says_farewell(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A stopping logic ends its links in order: the gateway sees an end, not a cut."""
    peer = await gateway()
    logic = await platform(peer)
    await up(logic, 1)
    await logic.links.stop(5.0)
    await peer.until(lambda peer: peer.farewells == 1 and not peer.links)
    assert logic.links.known == 0


@pytest.mark.parametrize(
    "nonsense",
    [Ack(1), Ack(2**60), Hello(5, "again"), Totals(0, ())],
    ids=["nothing was sent", "far too much", "second Hello", "wrong direction"],
)
async def test_a_gateway_that_breaks_the_protocol_is_cut(
    gateway: MakeGateway, platform: MakePlatform, nonsense: Envelope
) -> None:
    """An envelope that makes no sense costs the gateway its link; it may come back."""
    peer, good = await gateway("bad"), await gateway("good", instance=8)
    logic = await platform(peer, good)
    await up(logic, 2)
    broken = peer.link
    broken.send(nonsense)
    await peer.until(lambda peer: peer.accepted == 2)
    assert broken.lost
    assert good.accepted == 1


async def test_bytes_that_are_no_envelope_cut_the_link(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A stream that is not cut into envelopes is given up."""
    peer = await gateway()
    logic = await platform(peer)
    await up(logic, 1)
    peer.link.stream.write(b"\xff" * 64)
    await peer.until(lambda peer: peer.accepted == 2)


async def test_an_unknown_envelope_is_skipped(gateway: MakeGateway, platform: MakePlatform) -> None:
    """A newer gateway may say things that we do not understand."""
    peer = await gateway()
    logic = await platform(peer)
    await up(logic, 1)
    peer.link.send(Unknown(200))
    peer.count({"r": 3}, snapshot=True)
    peer.link.send(Unknown(201))
    assert (await logic.publisher.publish(room_push("r", "a"))).reach.reached == 1
    assert logic.counts.total("r") == 3
    assert peer.accepted == 1


class MuteGateway(GatewayPeer):
    """Says something else before Hello."""

    @property
    def hello(self) -> Hello:
        return Counts(True, False, 0, ())  # type: ignore[return-value]


async def test_a_gateway_introduces_itself_first(platform: MakePlatform) -> None:
    """Anything but Hello as the first envelope ends the link."""
    peer = await MuteGateway().start()
    logic = await platform()
    logic.links.follow(peer_set([peer.peer]))
    await peer.until(lambda peer: peer.accepted == 2)
    assert logic.links.up() == []
    await peer.stop()

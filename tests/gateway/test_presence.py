"""How many viewers: what the logics are told, and what the viewers are told."""

from collections.abc import AsyncIterator

import pytest_asyncio

from gateway.core import Gateway
from gateway.presence import LARGE_ROOM, LARGE_ROOM_INTERVAL_S, Presence
from protocol.envelope import Counts, Totals
from tests.gateway.embedded import Client, Positions, push, settings


class ScriptedLink:
    """Implements `gateway.presence.CountsLink` by keeping what it is sent."""

    def __init__(self) -> None:
        self.sent: list[Counts] = []

    def send_counts(self, counts: Counts) -> None:
        self.sent.append(counts)


class Platform:
    """A gateway with one viewer, and a presence whose clock is set by the test."""

    def __init__(self) -> None:
        self.gateway = Gateway(settings(fanout_threads=0), Positions())
        self.now = 1000.0
        self.presence = Presence(self.gateway.hub, lambda: self.now)
        self.viewer = Client(self.gateway)


@pytest_asyncio.fixture
async def platform() -> AsyncIterator[Platform]:
    """Make the gateway; its viewer is in the room `42`."""
    made = Platform()
    await made.viewer.join("42")
    yield made
    made.viewer.lose()


async def test_a_new_link_gets_a_snapshot(platform: Platform) -> None:
    """A logic that connects hears of every room at once; the oldest link is asked for totals."""
    first, second = ScriptedLink(), ScriptedLink()
    platform.presence.add_link(first)
    platform.presence.add_link(second)
    assert first.sent == [Counts(True, True, 1, (("42", 1),))]
    assert second.sent == [Counts(True, False, 1, (("42", 1),))]


async def test_changes_are_reported_together(platform: Platform) -> None:
    """After the snapshot only rooms that changed are listed, once, however often they did; an empty one with 0."""
    link = ScriptedLink()
    platform.presence.report()
    platform.presence.add_link(link)
    for _ in range(3):
        platform.viewer.say("LEAVE", room="42")
        platform.viewer.say("JOIN", room="42")
    platform.viewer.heard()
    await platform.viewer.join("43")
    platform.viewer.say("LEAVE", room="42")
    platform.presence.report()
    platform.presence.report()
    assert [set(counts.rooms) for counts in link.sent[1:]] == [{("42", 0), ("43", 1)}, set()]
    assert {(counts.snapshot, counts.wants_totals, counts.connections) for counts in link.sent[1:]} == {
        (False, True, 1)
    }


async def test_the_next_oldest_link_takes_over(platform: Platform) -> None:
    """When the link that sends totals is lost another one is asked for them; the loss of any other changes nothing."""
    links = [ScriptedLink() for _ in range(3)]
    for link in links:
        platform.presence.add_link(link)
    platform.presence.remove_link(links[2])
    platform.presence.remove_link(links[0])
    platform.presence.remove_link(links[0])
    platform.presence.report()
    assert [counts.wants_totals for counts in links[1].sent] == [False, True, True]
    assert len(links[0].sent) == len(links[2].sent) == 1


async def test_viewers_hear_of_a_new_total(platform: Platform) -> None:
    """A total that changed reaches the viewers of the room once; rooms that are not here are skipped."""
    platform.presence.totals_received(Totals(500, (("42", 300), ("nobody", 5))))
    assert await platform.viewer.hear() == ("ONLINE", {"room": "42", "count": 300})
    assert platform.presence.platform_connections == 500
    platform.presence.totals_received(Totals(500, (("42", 300),)))
    platform.presence.totals_received(Totals(500, (("42", 301),)))
    assert await platform.viewer.hear() == ("ONLINE", {"room": "42", "count": 301})


async def test_a_total_travels_with_the_next_frame(platform: Platform) -> None:
    """A count and messages of the same moment cost one frame."""
    platform.gateway.hub.push_to_room(push("42", 1))
    platform.presence.totals_received(Totals(1, (("42", 2),)))
    assert (await platform.viewer.hear())[1]["items"] == [1]
    assert await platform.viewer.hear() == ("ONLINE", {"room": "42", "count": 2})
    assert platform.gateway.counters.frames_encoded == 1


async def test_joined_tells_the_total(platform: Platform) -> None:
    """Whoever joins is told the larger of what all gateways have and what this one has."""
    platform.presence.totals_received(Totals(500, (("42", 300),)))
    await platform.viewer.hear()
    assert (await platform.viewer.join("42"))["online"] == 300


async def test_large_rooms_hear_less_often(platform: Platform) -> None:
    """In a large room a count is told at most every few seconds, and then the latest."""
    presence, viewer = platform.presence, platform.viewer
    presence.totals_received(Totals(1, (("42", LARGE_ROOM + 1),)))
    assert (await viewer.hear())[1]["count"] == LARGE_ROOM + 1
    for count in (2, 3):
        platform.now += 1
        presence.totals_received(Totals(1, (("42", LARGE_ROOM + count),)))
        presence.report()
    assert platform.gateway.hub.rooms["42"].online == LARGE_ROOM + 1
    platform.now += LARGE_ROOM_INTERVAL_S
    presence.report()
    assert (await viewer.hear())[1]["count"] == LARGE_ROOM + 3


async def test_an_older_count_does_not_come_back(platform: Platform) -> None:
    """A count that was put off is forgotten when a newer one is told."""
    presence, viewer = platform.presence, platform.viewer
    for count in (LARGE_ROOM + 1, LARGE_ROOM + 2, 9):
        presence.totals_received(Totals(1, (("42", count),)))
    assert (await viewer.hear())[1]["count"] == 9
    platform.now += LARGE_ROOM_INTERVAL_S
    presence.report()
    assert platform.gateway.hub.rooms["42"].online == 9

"""What every discovery promises, on every implementation. See k8s/base.py."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from k8s.base import Discovery
from k8s.peers import PeerSet
from k8s.registry import Registrant, Registration, RegistryDiscovery
from k8s.static import StaticDiscovery
from tests.k8s.observer import Observer

ADDRESSES = ("127.0.0.1:8001", "127.0.0.1:8011")
Factory = Callable[[Sequence[str]], Awaitable[Discovery]]


@dataclass
class Subject:
    """A way to make a discovery of given addresses."""

    make: Factory


@pytest.fixture(params=["static", "registry"])
async def subject(request: pytest.FixtureRequest, redis: Redis) -> AsyncIterator[Subject]:
    """Each implementation in turn."""
    registrations: list[Registration] = []

    async def static(addresses: Sequence[str]) -> Discovery:
        return StaticDiscovery(addresses)

    async def registry(addresses: Sequence[str]) -> Discovery:
        for address in addresses:
            registration = Registration(redis, Registrant(address, 1, address))
            await registration.start(lambda ok, detail: None)
            registrations.append(registration)
        return RegistryDiscovery(redis, poll_s=0.02)

    yield Subject(static if request.param == "static" else registry)
    for registration in registrations:
        await registration.stop()


@pytest.mark.parametrize("addresses", [(), ADDRESSES[:1], ADDRESSES], ids=len)
async def test_the_first_set_is_reported_by_start(subject: Subject, addresses: Sequence[str]) -> None:
    """When start returns, a source that answers has told all peers, none included, and that it is well."""
    discovery, seen = await subject.make(addresses), Observer()
    await discovery.start(seen.on_peers, seen.on_state)
    await discovery.stop()
    assert [{peer.address for peer in peers} for peers in seen.sets] == [set(addresses)]
    assert [ok for ok, _ in seen.states] == [True]
    assert all(detail for _, detail in seen.states)


async def test_every_peer_is_ready_by_default(subject: Subject) -> None:
    """A source that knows nothing of readiness calls every peer ready."""
    discovery, seen = await subject.make(ADDRESSES), Observer()
    await discovery.start(seen.on_peers, seen.on_state)
    await discovery.stop()
    assert all(peer.ready for peer in seen.sets[0])


async def test_stop_without_start_is_harmless(subject: Subject) -> None:
    """A discovery that was never started can be stopped, twice too."""
    discovery = await subject.make(ADDRESSES)
    await discovery.stop()
    await discovery.stop()


async def test_nothing_is_reported_after_stop(subject: Subject, redis: Redis) -> None:
    """Once stop has returned there are no more reports, whatever happens to the peers."""
    discovery, seen = await subject.make(ADDRESSES), Observer()
    await discovery.start(seen.on_peers, seen.on_state)
    await discovery.stop()
    before: list[PeerSet] = list(seen.sets)
    await redis.flushall()
    follower, other = RegistryDiscovery(redis, poll_s=0.02), Observer()
    await follower.start(other.on_peers, other.on_state)
    await follower.stop()
    assert other.sets == [frozenset()]
    assert seen.sets == before

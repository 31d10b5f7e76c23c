"""Gateways in Redis: entering, staying, leaving, dying, and Redis' own death."""

import json

import pytest
from redis.asyncio import Redis

from k8s.peers import AddressInvalid, Peer
from k8s.registry import KEYS, Registrant, Registration, RegistryDiscovery
from runtime.redis import connect
from tests.k8s.observer import Observer
from tests.redis_server import RedisServer

A = Registrant("a", 2**63 - 1, "127.0.0.1:8001")


def quick(client: Redis, registrant: Registrant = A) -> Registration:
    """A registration that refreshes often enough for a test."""
    return Registration(client, registrant, ttl_s=10, refresh_s=0.02)


async def test_a_gateway_comes_and_leaves(redis: Redis) -> None:
    """A gateway is in the list after its start and gone from it, at once, after its stop."""
    seen, registration, discovery = Observer(), quick(redis), RegistryDiscovery(redis, poll_s=0.02)
    await discovery.start(seen.on_peers, seen.on_state)
    assert seen.sets == [frozenset()]
    await registration.start(Observer().on_state)
    await seen.until_names("a")
    assert seen.sets[-1] == {Peer("a", "127.0.0.1:8001")}
    await registration.stop()
    await seen.until_names()
    await discovery.stop()
    assert await redis.exists(*KEYS) == 0


async def test_a_dead_gateway_expires(redis: Redis) -> None:
    """An entry that nobody refreshes ends by Redis' clock and is dropped from both keys."""
    seen, discovery = Observer(), RegistryDiscovery(redis, poll_s=0.02)
    dead = Registration(redis, A, ttl_s=0.3, refresh_s=60)
    await dead.start(Observer().on_state)
    await discovery.start(seen.on_peers, seen.on_state)
    assert {peer.name for peer in seen.sets[0]} == {"a"}
    await seen.until_names()
    await discovery.stop()
    assert await redis.exists(*KEYS) == 0
    await dead.stop()


async def test_a_refreshed_entry_outlives_its_time(redis: Redis) -> None:
    """Refreshing moves the end of an entry."""
    registration = Registration(redis, A, ttl_s=10, refresh_s=0.02)
    await registration.start(Observer().on_state)
    first = await redis.zscore(KEYS[1], "a")
    seen, discovery = Observer(), RegistryDiscovery(redis, poll_s=0.02)
    await discovery.start(seen.on_peers, seen.on_state)
    while await redis.zscore(KEYS[1], "a") == first:
        pass
    await discovery.stop()
    await registration.stop()
    assert [len(peers) for peers in seen.sets] == [1]


async def test_a_restarted_gateway_takes_its_name_over(redis: Redis) -> None:
    """A new instance replaces the entry of its predecessor, whose late farewell does not remove it."""
    seen, discovery = Observer(), RegistryDiscovery(redis, poll_s=0.02)
    old = Registration(redis, A, refresh_s=60)
    new = Registration(redis, Registrant("a", 7, "127.0.0.1:9001"), refresh_s=60)
    await old.start(Observer().on_state)
    await discovery.start(seen.on_peers, seen.on_state)
    states = Observer()
    await new.start(states.on_state)
    await seen.until(lambda seen: seen.sets[-1] == {Peer("a", "127.0.0.1:9001")})
    assert states.states == [(True, "registered")]
    await old.stop()
    assert await redis.hexists(KEYS[0], "a")
    await discovery.stop()
    await new.stop()


async def test_two_gateways_of_one_name_are_told(redis: Redis) -> None:
    """A name that another running gateway claims is reported to the one that had it."""
    first, second, states = quick(redis), quick(redis, Registrant("a", 7, "127.0.0.1:9001")), Observer()
    await first.start(states.on_state)
    await second.start(Observer().on_state)
    await states.until(lambda seen: (False, "another gateway uses this name") in seen.states)
    await second.stop()
    await states.until(lambda seen: seen.states[-1] == (True, "registered"))
    await first.stop()


async def test_a_dead_redis_changes_no_peers(own_redis: RedisServer) -> None:
    """While Redis is down the last known peers stay and the state says so; afterwards all mends itself."""
    client = connect(own_redis.url, client_name="test")
    registration, discovery, seen, states = (
        quick(client),
        RegistryDiscovery(client, poll_s=0.02),
        Observer(),
        Observer(),
    )
    await registration.start(states.on_state)
    await discovery.start(seen.on_peers, seen.on_state)
    own_redis.kill()
    await seen.until(lambda seen: not seen.states[-1][0])
    await states.until(lambda seen: not seen.states[-1][0])
    assert [len(peers) for peers in seen.sets] == [1]
    own_redis.start()
    await states.until(lambda seen: seen.states[-1] == (True, "registered"))
    await seen.until(lambda seen: seen.states[-1][0])
    await seen.until_names("a")
    await registration.stop()
    await discovery.stop()
    await client.aclose()


async def test_a_start_without_redis_waits_for_nobody(own_redis: RedisServer) -> None:
    """Both sides start while Redis is away, report it, and work once it is there."""
    own_redis.kill()
    client = connect(own_redis.url, client_name="test")
    registration, discovery, seen, states = (
        quick(client),
        RegistryDiscovery(client, poll_s=0.02),
        Observer(),
        Observer(),
    )
    await registration.start(states.on_state)
    await discovery.start(seen.on_peers, seen.on_state)
    assert (states.states[0][0], seen.states[0][0], seen.sets) == (False, False, [])
    own_redis.start()
    await seen.until_names("a")
    await discovery.stop()
    await registration.stop()
    await client.aclose()


async def test_an_entry_nobody_can_dial_is_left_out(redis: Redis) -> None:
    """An entry that is not ours to read does not hide the others."""
    registration = quick(redis)
    await registration.start(Observer().on_state)
    for name, description in (("bad", "{"), ("odd", "[]"), ("far", json.dumps({"address": "nowhere"}))):
        await redis.hset(KEYS[0], name, description)
    seen, discovery = Observer(), RegistryDiscovery(redis, poll_s=0.02)
    await discovery.start(seen.on_peers, seen.on_state)
    await discovery.stop()
    await registration.stop()
    assert [{peer.name for peer in peers} for peers in seen.sets] == [{"a"}]


def test_a_gateway_needs_an_address_that_can_be_dialled() -> None:
    """A wrong address is refused before it is announced to anybody."""
    with pytest.raises(AddressInvalid):
        Registration(connect("redis://127.0.0.1:1/0", client_name="test"), Registrant("a", 1, "nowhere"))

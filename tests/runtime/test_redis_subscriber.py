"""The subscription that mends itself, against real servers that crash and freeze."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from runtime.redis import Subscriber, SubscriberOptions, connect
from tests.redis_server import RedisServer, running_redis

# Short, so that a dead connection is noticed within a test's patience.
QUICK = SubscriberOptions(client_name="test-subscriber", ping_s=0.2, backoff_initial_s=0.02, backoff_maximum_s=0.1)
PATIENCE_S = 10


class Listener:
    """Remembers what a subscriber says, and lets a test wait for it."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self.states: list[bool] = []
        self.changed = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()

    def on_message(self, channel: str, payload: bytes) -> None:
        self.messages.append((channel, payload))
        self._notify()

    def on_state(self, state: bool) -> None:
        self.states.append(state)
        self._notify()

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds."""
        async with asyncio.timeout(PATIENCE_S), self.changed:
            await self.changed.wait_for(condition)

    def _notify(self) -> None:
        async def notify() -> None:
            async with self.changed:
                self.changed.notify_all()

        task = asyncio.get_running_loop().create_task(notify())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


@asynccontextmanager
async def subscribed(
    url: str, channels: Sequence[str] = ("one", "two"), *, sharded: bool | None = None
) -> AsyncIterator[tuple[Subscriber, Listener]]:
    """Run a subscriber that has not necessarily subscribed yet."""
    listener = Listener()
    subscriber = Subscriber(
        url,
        channels,
        on_message=listener.on_message,
        on_state=listener.on_state,
        sharded=sharded,
        options=QUICK,
    )
    await subscriber.start()
    try:
        yield subscriber, listener
    finally:
        await subscriber.stop()


@asynccontextmanager
async def publisher(url: str) -> AsyncIterator[Any]:
    """Run a client to publish with."""
    client: Redis = connect(url, client_name="publisher")
    try:
        yield cast("Any", client)
    finally:
        await client.aclose()


@pytest.mark.parametrize(("sharded", "command"), [(True, "SPUBLISH"), (False, "PUBLISH"), (None, "SPUBLISH")])
async def test_messages_arrive_in_order(shared_redis: RedisServer, sharded: bool | None, command: str) -> None:
    """Every message of every channel arrives, in the order of publication, as bytes, plain or sharded."""
    expected = [("one" if number % 3 else "two", b"\x00%d" % number) for number in range(1000)]
    async with subscribed(shared_redis.url, sharded=sharded) as (_, listener), publisher(shared_redis.url) as client:
        await listener.wait(lambda: listener.states == [True])
        pipeline = client.pipeline(transaction=False)
        for channel, payload in expected:
            pipeline.execute_command(command, channel, payload)
        await pipeline.execute()
        await listener.wait(lambda: len(listener.messages) == len(expected))
    assert listener.messages == expected
    assert listener.states == [True, False]


async def test_true_means_every_channel(shared_redis: RedisServer) -> None:
    """When the state is True, a message to any of the channels arrives; none was still being subscribed."""
    channels = [f"many-{number}" for number in range(200)]
    url = shared_redis.url
    async with subscribed(url, channels, sharded=False) as (subscriber, listener), publisher(url) as client:
        await listener.wait(lambda: listener.states == [True])
        assert subscriber.subscribed
        counts = await client.pubsub_numsub(*channels)
    assert [count for _, count in counts] == [1] * len(channels)


async def test_messages_that_come_together_are_delivered_together(shared_redis: RedisServer) -> None:
    """Messages of one read are handed over without the loop turning in between."""
    async with subscribed(shared_redis.url, sharded=False) as (_, listener), publisher(shared_redis.url) as client:
        await listener.wait(lambda: listener.states == [True])
        turned_at: list[int] = []
        remember = listener.on_message

        def on_first(channel: str, payload: bytes) -> None:
            if not listener.messages:
                asyncio.get_running_loop().call_soon(lambda: turned_at.append(len(listener.messages)))
            remember(channel, payload)

        async with subscribed_with(shared_redis.url, on_first):
            script = "for i = 1, 50 do redis.call('PUBLISH', 'three', i) end"
            await client.eval(script, 0)
            await listener.wait(lambda: len(listener.messages) == 50)
    assert turned_at == [50]


@asynccontextmanager
async def subscribed_with(url: str, on_message: Callable[[str, bytes], None]) -> AsyncIterator[None]:
    """Run a subscriber of channel three with a handler of the test's own, once it is subscribed."""
    up = asyncio.Event()

    def on_state(state: bool) -> None:
        if state:
            up.set()

    subscriber = Subscriber(url, ["three"], on_message=on_message, on_state=on_state, sharded=False)
    await subscriber.start()
    await asyncio.wait_for(up.wait(), PATIENCE_S)
    try:
        yield
    finally:
        await subscriber.stop()


async def test_a_handler_that_fails_costs_its_message_only(shared_redis: RedisServer) -> None:
    """An exception from on_message is not the end: the next message is delivered."""
    seen: list[bytes] = []
    enough = asyncio.Event()

    def fail_on_bad(channel: str, payload: bytes) -> None:
        if payload == b"bad":
            raise ValueError("bad message")
        seen.append(payload)
        enough.set()

    async with subscribed_with(shared_redis.url, fail_on_bad), publisher(shared_redis.url) as client:
        await client.publish("three", "bad")
        await client.publish("three", "good")
        await asyncio.wait_for(enough.wait(), PATIENCE_S)
    assert seen == [b"good"]


async def test_start_does_not_wait_for_redis(own_redis: RedisServer) -> None:
    """A subscriber that starts before Redis subscribes once Redis is there, and reports no False before."""
    async with subscribed(own_redis.url) as (subscriber, listener):
        await asyncio.to_thread(own_redis.start)
        await listener.wait(lambda: listener.states == [True])
        assert subscriber.losses == 0


async def test_a_crash_of_redis_is_mended(own_redis: RedisServer) -> None:
    """After a crash the state turns False; when Redis is back it turns True and messages arrive again."""
    own_redis.start()
    async with subscribed(own_redis.url) as (subscriber, listener):
        await listener.wait(lambda: listener.states == [True])
        own_redis.kill()
        await listener.wait(lambda: listener.states == [True, False])
        await asyncio.to_thread(own_redis.start)
        await listener.wait(lambda: listener.states == [True, False, True])
        async with publisher(own_redis.url) as client:
            await client.execute_command("SPUBLISH", "two", "again")
        await listener.wait(lambda: listener.messages == [("two", b"again")])
        assert subscriber.losses == 1


async def test_a_frozen_redis_is_noticed(own_redis: RedisServer) -> None:
    """A connection that is open and silent is pinged, and given up when no answer comes."""
    own_redis.start()
    async with subscribed(own_redis.url) as (_, listener):
        await listener.wait(lambda: listener.states == [True])
        own_redis.pause()
        await listener.wait(lambda: listener.states == [True, False])
        own_redis.resume()
        await listener.wait(lambda: listener.states == [True, False, True])


async def test_a_quiet_connection_stays(shared_redis: RedisServer) -> None:
    """A healthy connection without messages is kept: its pings are answered."""
    async with subscribed(shared_redis.url) as (subscriber, listener), publisher(shared_redis.url) as client:
        await listener.wait(lambda: listener.states == [True])
        await poll(lambda: pings(client), 3)
        assert (listener.states, subscriber.losses) == ([True], 0)


async def poll(count: Callable[[], Awaitable[int]], enough: int) -> None:
    """Wait until the server has counted enough of something; it has no way to tell us by itself."""
    async with asyncio.timeout(PATIENCE_S):
        while await count() < enough:
            await asyncio.sleep(0.02)


async def pings(client: Any) -> int:
    """Ask the server how many PINGs it has answered."""
    stats = await client.info("commandstats")
    return int(stats.get("cmdstat_ping", {"calls": 0})["calls"])


async def test_a_cut_connection_is_mended(shared_redis: RedisServer) -> None:
    """A connection that the server closes, as for a subscriber that reads too slowly, is opened again."""
    async with subscribed(shared_redis.url) as (_, listener), publisher(shared_redis.url) as client:
        await listener.wait(lambda: listener.states == [True])
        await client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        await listener.wait(lambda: listener.states == [True, False, True])


async def test_a_server_without_sharded_pubsub_is_followed_plainly() -> None:
    """Where SPUBLISH does not exist, as in Redis 6.2, the subscription is a plain one."""
    with running_redis(("--rename-command", "SPUBLISH", "", "--rename-command", "SSUBSCRIBE", "")) as server:
        async with subscribed(server.url) as (_, listener), publisher(server.url) as client:
            await listener.wait(lambda: listener.states == [True])
            await client.publish("one", "plain")
            await listener.wait(lambda: listener.messages == [("one", b"plain")])


async def test_a_refused_subscription_is_tried_again() -> None:
    """A subscription that Redis refuses (here: no permission) keeps being tried and works once it is allowed."""
    with running_redis() as server:
        async with subscribed(server.url, sharded=False) as (subscriber, listener), publisher(server.url) as client:
            await listener.wait(lambda: listener.states == [True])
            await client.execute_command("ACL", "SETUSER", "default", "resetchannels")
            await listener.wait(lambda: listener.states == [True, False])
            await poll(lambda: denials(client), 2)
            assert not subscriber.subscribed
            await client.execute_command("ACL", "SETUSER", "default", "allchannels")
            await listener.wait(lambda: listener.states == [True, False, True])


async def denials(client: Any) -> int:
    """Ask the server how often it refused something."""
    return sum(int(entry["count"]) for entry in await client.acl_log())


async def test_no_channels_is_a_mistake() -> None:
    """A subscriber without channels would never be confirmed; it cannot be made."""
    with pytest.raises(ValueError, match="channel"):
        Subscriber("redis://127.0.0.1", [], on_message=lambda *_: None, on_state=lambda _: None)

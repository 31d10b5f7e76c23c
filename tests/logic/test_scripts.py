"""The scripts inside Redis, on every server that is here."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from logic.calls import DIRECT, PUBLISH, ROOM_LIFE_MS
from protocol.envelope import encode_room_push, room_push_parts
from protocol.limits import MAX_INTEGER
from runtime.redis import ScriptCall, connect, run_many, supports_sharded_pubsub
from tests.redis_server import RedisServer

CHANNEL = "dm:{p07}:push"
ROOM = "dm:{p07}:room:r"
IDEM = "dm:{p07}:idem:k"


@pytest.fixture
async def client(each_redis: RedisServer) -> AsyncIterator[Redis]:
    """A client of each server in turn, which is empty."""
    client = connect(each_redis.url, client_name="test")
    await client.flushall()
    yield client
    await client.aclose()


def publish(
    count: int = 1, *, command: str = "", head: bytes = b"", tail: bytes = b"", fingerprint: str | None = None
) -> ScriptCall:
    """Return a run of publish.lua."""
    args = (command, CHANNEL, count, head, tail, ROOM_LIFE_MS)
    if fingerprint is None:
        return ScriptCall(PUBLISH, (ROOM,), args)
    return ScriptCall(PUBLISH, (ROOM, IDEM), (*args, fingerprint, 300_000))


def direct(
    instance: int = 2**63 - 1, counter: int = 1, *, fingerprint: str | None = None, command: str = ""
) -> ScriptCall:
    """Return a run of direct.lua."""
    args = (command, CHANNEL, b"\x00envelope", instance, counter)
    if fingerprint is None:
        return ScriptCall(DIRECT, (CHANNEL,), args)
    return ScriptCall(DIRECT, (IDEM,), (*args, fingerprint, 300_000))


async def run(client: Redis, *calls: ScriptCall) -> Any:
    """Return the answer, or a list of them for several calls."""
    answers = await run_many(client, calls)
    return answers[0] if len(calls) == 1 else answers


async def heard(client: Redis, command: str, call: ScriptCall) -> tuple[Any, bytes]:
    """Run the call while subscribed to the channel; return its answer and what was published."""
    async with client.pubsub() as subscriber:
        if command == "SPUBLISH":
            await subscriber.ssubscribe(CHANNEL)
        else:
            await subscriber.subscribe(CHANNEL)
        await subscriber.parse_response()
        answer = await run(client, call)
        message = await subscriber.parse_response()
    assert isinstance(message, list)
    return answer, message[2]


async def test_a_room_begins_with_one(client: Redis) -> None:
    """A new room's first message has sequence 1 and an epoch of the server's clock, in microseconds."""
    seconds, microseconds = await client.time()
    outcome, epoch, first, receivers = await run(client, publish(3))
    assert (outcome, first, receivers) == (0, 1, 0)
    assert 0 <= epoch - (seconds * 1_000_000 + microseconds) < 10_000_000
    assert await client.hgetall(ROOM) == {b"epoch": str(epoch).encode(), b"seq": b"3"}


async def test_sequences_have_no_gap(client: Redis) -> None:
    """Each push begins behind the one before, in the same epoch."""
    answers = await run(client, publish(3), publish(1), publish(1000), publish(1))
    assert [answer[2] for answer in answers] == [1, 4, 5, 1005]
    assert len({answer[1] for answer in answers}) == 1


async def test_a_room_lives_a_day_after_its_last_push(client: Redis) -> None:
    """Every push sets the life of the room's position anew."""
    await run(client, publish())
    await client.pexpire(ROOM, 5_000)
    await run(client, publish())
    assert ROOM_LIFE_MS - 60_000 < await client.pttl(ROOM) <= ROOM_LIFE_MS


@pytest.mark.parametrize("command", ["PUBLISH", "SPUBLISH"])
async def test_what_is_published_is_the_envelope(client: Redis, command: str) -> None:
    """The published bytes are those that encode_room_push makes of the returned epoch and sequence."""
    if command == "SPUBLISH":
        assert await supports_sharded_pubsub(client), "both servers here are 7 or later"
    head, tail = room_push_parts("r", 1_700_000_000_123, 2, bytes(range(256)) * 40)
    answer, published = await heard(client, command, publish(2, command=command, head=head, tail=tail))
    outcome, epoch, first, receivers = answer
    assert (outcome, first, receivers) == (0, 1, 1)
    assert published == encode_room_push(head, epoch, first, tail)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    epoch=st.integers(1, MAX_INTEGER) | st.just(MAX_INTEGER),
    seq=st.integers(0, MAX_INTEGER - 1000) | st.sampled_from((2**31, 2**32, 2**52 - 1, MAX_INTEGER - 1000)),
)
async def test_numbers_are_exact(client: Redis, epoch: int, seq: int) -> None:
    """Epoch and sequence pass through the script unharmed up to 2^53 - 1, in the answer and in the envelope."""
    await client.hset(ROOM, mapping={"epoch": epoch, "seq": seq})
    answer, published = await heard(client, "PUBLISH", publish(1000, command="PUBLISH", head=b"<", tail=b">"))
    assert answer == [0, epoch, seq + 1, 1]
    assert published == encode_room_push(b"<", epoch, seq + 1, b">")
    assert await client.hget(ROOM, "seq") == str(seq + 1000).encode()


async def test_nothing_is_published_without_a_command(client: Redis) -> None:
    """A logic that uses the links only publishes nothing, and says that nobody got it."""
    async with client.pubsub() as subscriber:
        await subscriber.subscribe(CHANNEL)
        await subscriber.parse_response()
        assert (await run(client, publish()))[3] == 0
        await client.publish(CHANNEL, b"end")
        assert (await subscriber.parse_response())[2] == b"end"


async def test_a_room_push_is_repeated_once(client: Redis) -> None:
    """The same key with the same fingerprint gives the first answer again; the room moves on once."""
    first = await run(client, publish(5, fingerprint="a b"))
    await run(client, publish(1))
    again = await run(client, publish(5, fingerprint="a b"))
    assert (first[0], first[2]) == (0, 1)
    assert again == [1, *first[1:]]
    assert await client.hget(ROOM, "seq") == b"6"


async def test_a_replay_remembers_its_receivers(client: Redis) -> None:
    """A replay says how many subscribers the first publication reached, though it publishes nothing."""
    answer, _ = await heard(client, "PUBLISH", publish(command="PUBLISH", fingerprint="f"))
    assert answer[3] == 1
    assert (await run(client, publish(command="PUBLISH", fingerprint="f")))[3] == 1


async def test_another_push_under_the_key_is_a_conflict(client: Redis) -> None:
    """The same key with another fingerprint changes nothing and says so."""
    await run(client, publish(5, fingerprint="one"))
    assert await run(client, publish(5, fingerprint="two")) == [2, 0, 0, 0]
    assert await client.hget(ROOM, "seq") == b"5"


async def test_an_idempotency_key_expires(client: Redis) -> None:
    """A record ends after its time to live, which a replay does not prolong."""
    await run(client, publish(fingerprint="f"))
    await client.pexpire(IDEM, 60_000)
    await run(client, publish(fingerprint="f"))
    assert 0 < await client.pttl(IDEM) <= 60_000


async def test_a_direct_push_is_published_as_it_is(client: Redis) -> None:
    """Envelope, instance and counter of a direct push pass unharmed; 63 bits of instance too."""
    answer, published = await heard(client, "PUBLISH", direct(command="PUBLISH"))
    assert published == b"\x00envelope"
    assert answer == [0, str(2**63 - 1).encode(), b"1", 1]
    assert await client.keys() == []


async def test_a_direct_push_is_repeated_once(client: Redis) -> None:
    """A repeated direct push gets the instance and counter of the first, another push a conflict."""
    await run(client, direct(fingerprint="a b"))
    assert await run(client, direct(5, 6, fingerprint="a b")) == [1, str(2**63 - 1).encode(), b"1", 0]
    assert await run(client, direct(fingerprint="other")) == [2, b"0", b"0", 0]
    assert 290_000 < await client.pttl(IDEM) <= 300_000

"""The Redis client and scripts, against real servers."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest
from redis import exceptions as library
from redis.asyncio import Redis

from runtime.redis import (
    RedisRejected,
    RedisUnavailable,
    Script,
    ScriptCall,
    connect,
    run_many,
    run_one,
    supports_sharded_pubsub,
)
from runtime.redis.errors import redis_errors, translated
from tests.redis_server import RedisServer, free_port, running_redis

INCREMENT = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
FAIL = Script("return redis.error_reply('STALE the fence has moved')")


@pytest.fixture
async def client(shared_redis: RedisServer) -> AsyncIterator[Redis]:
    """A client of an empty server that knows no script."""
    client = connect(shared_redis.url, client_name="test-client")
    await cast("Any", client).flushall()
    await cast("Any", client).script_flush()
    yield client
    await client.aclose()


def add(key: str, amount: int = 1) -> ScriptCall:
    """Return a call that adds to a counter and returns it."""
    return ScriptCall(INCREMENT, (key,), (amount,))


def test_digest_is_known_without_redis() -> None:
    """A script's digest is the SHA1 of its source, as EVALSHA wants it."""
    assert Script("return 1").digest == hashlib.sha1(b"return 1").hexdigest()


async def test_results_come_in_the_order_of_the_calls(client: Redis) -> None:
    """One result a call, in order, though the script had to be loaded first."""
    assert await run_many(client, [add("a"), add("b", 5), add("a", 2)]) == [1, 5, 3]
    assert await run_many(client, [add("a"), add("b")]) == [4, 6]
    assert await run_many(client, []) == []


async def test_only_the_unknown_script_is_repeated(client: Redis) -> None:
    """When one of several scripts has to be loaded, the calls that succeeded are not run again."""
    other = Script("return redis.call('INCRBY', KEYS[1], ARGV[1]) -- another")
    await run_many(client, [add("a")])
    assert await run_many(client, [add("a"), ScriptCall(other, ("b",), (7,)), add("a")]) == [2, 7, 3]


async def test_scripts_survive_a_flush(client: Redis) -> None:
    """A server that forgot its scripts, as after a restart, is taught them again unasked."""
    await run_many(client, [add("a")])
    await cast("Any", client).script_flush()
    assert await run_one(client, add("a")) == 2


async def test_a_refused_call_leaves_the_others_alone(client: Redis) -> None:
    """An error is returned in the place of its call, with the code that the script gave; the rest succeed."""
    first, second, third = await run_many(client, [add("a"), ScriptCall(FAIL), add("a")])
    assert (first, third) == (1, 2)
    assert isinstance(second, RedisRejected)
    assert (second.code, second.temporary) == ("STALE", False)
    with pytest.raises(RedisRejected, match="the fence has moved"):
        await run_one(client, ScriptCall(FAIL))


async def test_a_value_of_the_wrong_type_is_rejected(client: Redis) -> None:
    """A runtime error inside a script is a rejection of that call, not a broken connection."""
    await cast("Any", client).rpush("list", "x")
    (result,) = await run_many(client, [add("list")])
    assert isinstance(result, RedisRejected)
    assert "wrong kind of value" in str(result)


async def test_client_is_named_and_speaks_bytes(client: Redis) -> None:
    """CLIENT LIST shows the name, and values are bytes."""
    anyway = cast("Any", client)
    await anyway.set("key", "é")
    assert await anyway.get("key") == "é".encode()
    assert await anyway.client_getname() in (b"test-client", "test-client")


async def test_nobody_there_is_unavailable() -> None:
    """A refused connection raises RedisUnavailable."""
    client = connect(f"redis://127.0.0.1:{free_port()}", client_name="test")
    with pytest.raises(RedisUnavailable):
        await run_many(client, [add("a")])
    await client.aclose()


async def test_a_frozen_server_is_unavailable(own_redis: RedisServer) -> None:
    """A server that takes the command and does not answer costs the timeout, then RedisUnavailable."""
    own_redis.start()
    client = connect(own_redis.url + "?socket_timeout=0.2", client_name="test")
    await run_many(client, [add("a")])
    own_redis.pause()
    with pytest.raises(RedisUnavailable):
        await run_many(client, [add("a")])
    own_redis.resume()
    await client.aclose()


async def test_a_lost_answer_is_not_asked_for_twice() -> None:
    """A connection that breaks after the command was sent raises; the command is sent once only."""
    seen: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while header := await reader.readline():
            parts = []
            for _ in range(int(header[1:])):
                await reader.readline()
                parts.append((await reader.readline()).strip())
            if parts[0] == b"EVALSHA":
                seen.append(parts[0])
                break
            writer.write(b"+PONG\r\n" if parts[0] == b"PING" else b"+OK\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = connect(f"redis://127.0.0.1:{port}?protocol=2", client_name="test")
    with pytest.raises(RedisUnavailable):
        await run_many(client, [add("a")])
    await client.aclose()
    server.close()
    await server.wait_closed()
    assert seen == [b"EVALSHA"]


async def test_client_survives_a_restart(own_redis: RedisServer) -> None:
    """After Redis crashed and came back, the same client works with the next call at the latest."""
    own_redis.start()
    client = connect(own_redis.url, client_name="test")
    assert await run_one(client, add("a")) == 1
    own_redis.kill()
    with pytest.raises(RedisUnavailable):
        await run_one(client, add("a"))
    own_redis.start()
    assert await run_one(client, add("a")) == 1
    await client.aclose()


async def test_sharded_pubsub_is_asked_of_the_server(client: Redis) -> None:
    """A server that has SPUBLISH is known to have it."""
    assert await supports_sharded_pubsub(client)


async def test_a_server_without_sharded_pubsub() -> None:
    """A server without SPUBLISH, as Redis 6.2, is known not to have it."""
    with running_redis(("--rename-command", "SPUBLISH", "")) as server:
        client = connect(server.url, client_name="test")
        assert not await supports_sharded_pubsub(client)
        await client.aclose()


async def test_a_server_that_may_not_be_asked() -> None:
    """A server whose rules forbid COMMAND INFO counts as one without sharded pub/sub."""
    with running_redis() as server:
        client = connect(server.url, client_name="test")
        await cast("Any", client).execute_command("ACL", "SETUSER", "default", "-command")
        assert not await supports_sharded_pubsub(client)
        await client.aclose()


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (library.ConnectionError("gone"), RedisUnavailable, "UNAVAILABLE"),
        (library.TimeoutError("slow"), RedisUnavailable, "UNAVAILABLE"),
        (library.BusyLoadingError("loading"), RedisUnavailable, "UNAVAILABLE"),
        (ConnectionResetError(104, "reset"), RedisUnavailable, "UNAVAILABLE"),
        (TimeoutError(), RedisUnavailable, "UNAVAILABLE"),
        (library.AuthenticationError("WRONGPASS no"), RedisRejected, "WRONGPASS"),
        (library.OutOfMemoryError("command not allowed"), RedisRejected, "OOM"),
        (library.ReadOnlyError("You can't write"), RedisRejected, "READONLY"),
        (library.ResponseError("STALE epoch"), RedisRejected, "STALE"),
        (library.ResponseError("value is not an integer"), RedisRejected, "ERR"),
        (library.DataError("None"), RedisRejected, "ERR"),
    ],
)
def test_errors_are_mapped_once(error: Exception, kind: type[Exception], code: str) -> None:
    """Every foreign error is either 'no answer' or 'no', keeps its cause, and carries a stable code."""
    with pytest.raises(kind) as caught, redis_errors():
        raise error
    assert caught.value.__cause__ is error
    assert getattr(caught.value, "code", None) == code


def test_other_errors_pass() -> None:
    """What is not Redis's fault is not called so."""
    assert translated(ValueError("ours")) is None
    with pytest.raises(ValueError, match="ours"), redis_errors():
        raise ValueError("ours")


@pytest.mark.parametrize("code", ["READONLY", "OOM"])
def test_temporary_rejections_say_so(code: str) -> None:
    """A rejection that may pass by itself is marked, so that callers answer 'try later'."""
    assert RedisRejected(code, "…").temporary

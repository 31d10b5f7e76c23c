"""The one way to open a Redis client."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from runtime.redis.errors import RedisRejected, redis_errors

# A healthy Redis answers in well under a millisecond; these are for the unhealthy. A caller that holds a
# request open for a person must hear "no" within seconds.
CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 5.0
# A pooled connection that has been idle this long is tried with PING before it is used, because without
# retries the first command after a restart of Redis would fail on each stale connection.
IDLE_CHECK_S = 5.0
# More concurrent commands than this wait for a connection: Redis has one thread, more sockets add nothing.
MAX_CONNECTIONS = 64

CONNECTION_OPTIONS: dict[str, Any] = {
    "decode_responses": False,
    "socket_timeout": ANSWER_TIMEOUT_S,
    "socket_connect_timeout": CONNECT_TIMEOUT_S,
    "socket_keepalive": True,
}


def connect(url: str, *, client_name: str) -> Redis:
    """Return a client for `url` (redis://, rediss:// or unix://); it connects when first used.

    Values are bytes. `client_name` is what `CLIENT LIST` shows. Nothing is retried: a command whose answer
    was lost may have been executed, and ours assign sequences and publish. Whoever knows that his command is
    idempotent repeats it himself. Wrap calls in `redis_errors()`; close with `await client.aclose()`.
    """
    return Redis.from_url(
        url,
        client_name=client_name,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=IDLE_CHECK_S,
        max_connections=MAX_CONNECTIONS,
        **CONNECTION_OPTIONS,
    )


async def supports_sharded_pubsub(client: Redis) -> bool:
    """Ask the server whether it has SPUBLISH (Redis 7.0, Valkey); publisher and subscriber must agree on it.

    A server that does not let us ask counts as one without. Raises `RedisUnavailable`.
    """
    try:
        with redis_errors():
            # EXISTS-like and cheap; the answer is one nil per unknown command in 6.2 and in 7.
            answer = await client.execute_command("COMMAND INFO", "SPUBLISH")  # type: ignore[no-untyped-call]
    except RedisRejected:
        return False
    return knows_command(answer)


def knows_command(answer: object) -> bool:
    """Read the answer to COMMAND INFO with one name."""
    return isinstance(answer, (list, tuple)) and len(answer) == 1 and bool(answer[0])

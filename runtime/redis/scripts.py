"""Lua scripts by their digest, many in one round trip."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from runtime.redis.errors import RedisRejected, redis_errors, rejected

Argument = bytes | str | int | float


@dataclass(frozen=True, slots=True)
class Script:
    """The source of a Lua script; its SHA1 digest is known without asking Redis."""

    source: str
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        object.__setattr__(self, "digest", digest)

    def __repr__(self) -> str:
        return f"<Script {self.digest[:8]}>"


@dataclass(frozen=True, slots=True)
class ScriptCall:
    """One run of a script: the keys it touches, and its other arguments."""

    script: Script
    keys: Sequence[bytes | str] = ()
    args: Sequence[Argument] = ()


async def run_many(client: Redis, calls: Sequence[ScriptCall]) -> list[object | RedisRejected]:
    """Run the calls in order in one round trip, and return one result each, in the same order.

    A call that Redis refuses has its `RedisRejected` in its place; the others are not affected. Each call is
    atomic by itself, the list is not: a connection that is lost raises `RedisUnavailable`, and an unknown
    number of calls from the beginning of the list has been executed.

    Scripts that Redis does not know yet are loaded and just their calls repeated, which costs two more
    round trips and runs these calls after the rest of the list.
    """
    with redis_errors():
        results = await _run(client, calls)
        unknown = [index for index, result in enumerate(results) if isinstance(result, NoScriptError)]
        if unknown:
            await _load(client, (calls[index].script for index in unknown))
            again = await _run(client, [calls[index] for index in unknown])
            for index, result in zip(unknown, again, strict=True):
                results[index] = result
    return [rejected(result) if isinstance(result, ResponseError) else result for result in results]


async def run_one(client: Redis, call: ScriptCall) -> object:
    """Run one call and return its result. Raises `RedisRejected` and `RedisUnavailable`."""
    (result,) = await run_many(client, (call,))
    if isinstance(result, RedisRejected):
        raise result
    return result


async def _run(client: Redis, calls: Sequence[ScriptCall]) -> list[object]:
    pipeline = client.pipeline(transaction=False)
    for call in calls:
        pipeline.execute_command("EVALSHA", call.script.digest, len(call.keys), *call.keys, *call.args)
    results: list[object] = await pipeline.execute(raise_on_error=False)
    return results


async def _load(client: Redis, scripts: Iterable[Script]) -> None:
    pipeline = client.pipeline(transaction=False)
    for source in {script.source for script in scripts}:
        pipeline.execute_command("SCRIPT LOAD", source)
    await pipeline.execute()

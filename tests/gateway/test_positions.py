"""Positions of rooms, from a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from gateway.hub import Position
from gateway.positions import PositionReader
from protocol.partitions import room_key
from runtime.lifecycle import Background
from runtime.logs import get_logger
from runtime.redis.client import connect
from tests.redis_server import RedisServer, running_redis

PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    """Run a server for this module."""
    with running_redis() as running:
        yield running


@pytest_asyncio.fixture
async def background() -> AsyncIterator[Background]:
    """Make a place for background work."""
    made = Background(get_logger("test"))
    yield made
    await made.cancel()


async def read(reader: PositionReader, *rooms: str) -> list[Position]:
    """Ask for several rooms in one moment."""
    loop = asyncio.get_running_loop()
    answers: list[asyncio.Future[Position]] = [loop.create_future() for _ in rooms]
    for room, answer in zip(rooms, answers, strict=True):
        reader.read(room, answer.set_result)
    async with asyncio.timeout(PATIENCE_S):
        return await asyncio.gather(*answers)


async def test_positions_come_from_redis(server: RedisServer, background: Background) -> None:
    """A room's epoch and sequence are read where logic writes them; an unknown room is at the beginning."""
    redis = connect(server.url, client_name="test")
    await redis.hset(room_key("42"), mapping={"epoch": "1700000000000000", "seq": "1006"})
    reader = PositionReader(redis, background)
    assert await read(reader, "42", "new", "42") == [
        (1_700_000_000_000_000, 1006),
        (0, 0),
        (1_700_000_000_000_000, 1006),
    ]
    assert await read(reader, "new") == [(0, 0)]
    await redis.aclose()


async def test_reads_of_one_moment_share_a_round_trip(server: RedisServer, background: Background) -> None:
    """A thousand joins of one moment are one pipeline."""
    redis = connect(server.url, client_name="test")
    reader = PositionReader(redis, background)
    connections = (await redis.info("stats"))["total_connections_received"]
    assert await read(reader, *(f"room-{number}" for number in range(1000))) == [(0, 0)] * 1000
    assert (await redis.info("stats"))["total_connections_received"] == connections
    await redis.aclose()


async def test_without_redis_nothing_is_known(background: Background) -> None:
    """When Redis is not there every reader is told so, and nobody waits."""
    server = RedisServer()
    redis = connect(server.url, client_name="test")
    reader = PositionReader(redis, background)
    assert await read(reader, "a", "b") == [None, None]
    await redis.aclose()
    server.stop()


async def test_a_frozen_redis_is_not_waited_for(background: Background) -> None:
    """When Redis does not answer the join goes on after the limit, and the next one works again."""
    with running_redis() as server:
        redis = connect(server.url, client_name="test")
        reader = PositionReader(redis, background)
        assert await read(reader, "a") == [(0, 0)]
        server.pause()
        assert await read(reader, "a") == [None]
        server.resume()
        assert await read(reader, "a") == [(0, 0)]
        await redis.aclose()

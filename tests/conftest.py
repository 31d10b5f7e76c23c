"""A real Redis, for whichever tests want one."""

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from runtime.redis import connect
from tests.redis_server import RedisServer, running_redis


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """A server for tests that do not stop it."""
    with running_redis() as server:
        yield server


@pytest.fixture
async def redis(shared_redis: RedisServer) -> AsyncIterator[Redis]:
    """A client of the shared server, which is empty."""
    client = connect(shared_redis.url, client_name="test")
    await client.flushall()
    yield client
    await client.aclose()


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server of the test's own, running, to be killed and frozen."""
    with running_redis() as server:
        yield server

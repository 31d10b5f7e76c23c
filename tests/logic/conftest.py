"""What the tests of logic share: real Redis servers, gateways and publishers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from tests.logic.gateway_peer import GatewayPeer
from tests.logic.platform import Platform
from tests.redis_server import RedisServer, find_redis_server, find_valkey_server, running_redis

MakeGateway = Callable[..., Awaitable[GatewayPeer]]


@pytest.fixture(
    scope="session", params=sorted({find_redis_server(), find_valkey_server()}), ids=lambda program: program.name
)
def each_redis(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    """Every kind of server that this machine has, in turn."""
    program: Path = request.param
    with running_redis(program=program) as server:
        yield server


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    """Ends what a test has started, last first."""
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
async def gateway(stack: AsyncExitStack) -> MakeGateway:
    """Makes gateways that run until the end of the test."""

    async def make(name: str = "gateway", **options: object) -> GatewayPeer:
        peer = await GatewayPeer(name, **options).start()  # type: ignore[arg-type]
        stack.push_async_callback(peer.stop)
        return peer

    return make


@pytest.fixture
async def platform(
    stack: AsyncExitStack, redis: Redis, shared_redis: RedisServer
) -> Callable[..., Awaitable[Platform]]:
    """Makes publishers with their links, on the shared Redis unless told, that run until the end of the test."""

    async def make(*gateways: GatewayPeer, url: str | None = None, **options: object) -> Platform:
        made = Platform(url or shared_redis.url, **options)  # type: ignore[arg-type]
        stack.push_async_callback(made.stop)
        await made.start(*gateways)
        return made

    return make

"""The push API on a real socket, over a publisher in memory."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry

from logic.api.app import make_api, make_runner
from logic.api.keys import ApiKey, Scope
from logic.api.metrics import ApiMetrics
from logic.api.options import ApiOptions
from tests.logic.api.memory import MemoryOverview, MemoryPublishing

KEY = "all-scopes-0123456789"
READ_KEY = "read-only-0123456789"
PUBLISH_KEY = "publish-only-0123456789"
SLOW_KEY = "one-in-ten-seconds-0123456789"
AUTH = {"Authorization": f"Bearer {KEY}"}
KEYS = (
    ApiKey.of("tester", KEY),
    ApiKey.of("watcher", READ_KEY, [Scope.READ]),
    ApiKey.of("shop", PUBLISH_KEY, [Scope.PUBLISH]),
    ApiKey.of("slow", SLOW_KEY, pushes_per_second=0.1),
)


def bearer(key: str) -> dict[str, str]:
    """Return the header that shows a key."""
    return {"Authorization": f"Bearer {key}"}


@dataclass
class Api:
    """A running API, what is behind it, and a client for it."""

    publishing: MemoryPublishing
    overview: MemoryOverview
    registry: CollectorRegistry
    runner: web.AppRunner
    session: aiohttp.ClientSession
    port: int = field(default=0)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}"

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of a metric, 0 when there is none yet."""
        return self.registry.get_sample_value(name, labels) or 0.0

    async def raw(self, request: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection and send bytes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(request)
        return reader, writer


@asynccontextmanager
async def serving(options: ApiOptions | None = None) -> AsyncIterator[Api]:
    """Serve the API on a free port of loopback."""
    registry = CollectorRegistry()
    publishing, overview = MemoryPublishing(), MemoryOverview()
    app = make_api(
        publishing, overview, keys=KEYS, options=options or ApiOptions(version="1.2.3"), metrics=ApiMetrics(registry)
    )
    runner = make_runner(app, shutdown_s=1.0)
    async with AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        session = await stack.enter_async_context(aiohttp.ClientSession(auto_decompress=False))
        yield Api(publishing, overview, registry, runner, session, int(runner.addresses[0][1]))


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    """Serve the API with its default options."""
    async with serving() as running:
        yield running

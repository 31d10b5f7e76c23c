"""The gateway on a real port, on both event loops."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
import pytest_asyncio

from tests.gateway.sockets.platform import Platform, Start


def pytest_asyncio_loop_factories(config: pytest.Config) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every test on the loop that production uses, and on the one where uvloop is missing."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.SelectorEventLoop}
    try:
        import uvloop
    except ImportError:
        return factories
    return {**factories, "uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Start]:
    """Start gateways with the settings that a test wants; all are stopped in the end."""
    async with AsyncExitStack() as stack:

        async def begin(**changes: Any) -> Platform:
            platform = Platform(**changes)
            await platform.start()
            stack.push_async_callback(platform.stop)
            return platform

        yield begin


@pytest_asyncio.fixture
async def platform(start: Start) -> Platform:
    """Start a gateway with the usual settings, and a viewer of the room `42` that must not be disturbed."""
    made = await start()
    await made.observe()
    return made

"""What the tests of runtime share: both event loops, real Redis servers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.redis_server import RedisServer, find_redis_server, find_valkey_server, running_redis


def pytest_asyncio_loop_factories(config: pytest.Config) -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run every asynchronous test on the loop that production uses, and on the one where uvloop is missing."""
    factories: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {"asyncio": asyncio.SelectorEventLoop}
    try:
        import uvloop
    except ImportError:
        return factories
    return {**factories, "uvloop": uvloop.new_event_loop}


def _programs() -> list[Path]:
    """Every kind of server that this machine has."""
    return sorted({find_redis_server(), find_valkey_server()})


@pytest.fixture(scope="session", params=_programs(), ids=lambda program: program.name)
def redis_program(request: pytest.FixtureRequest) -> Path:
    """Each server program in turn."""
    program: Path = request.param
    return program


@pytest.fixture(scope="session")
def shared_redis(redis_program: Path) -> Iterator[RedisServer]:
    """A server for tests that neither stop it nor care what else is in it."""
    with running_redis(program=redis_program) as server:
        yield server


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server of the test's own, to be killed and frozen; not started yet."""
    server = RedisServer()
    yield server
    server.stop()

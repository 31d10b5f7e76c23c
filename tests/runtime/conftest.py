"""What the tests of runtime share: real Redis servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.redis_server import RedisServer, find_redis_server, find_valkey_server, running_redis


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

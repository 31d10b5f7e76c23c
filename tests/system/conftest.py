"""Fixtures of the system tests. Everything here is a real process."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.system.platform import Platform, make_options, running_platform
from tests.system.redis_backend import running_redis


@pytest.fixture
def redis_url() -> Iterator[str]:
    """Give an empty Redis of the test's own."""
    with running_redis() as url:
        yield url


@pytest.fixture
async def platform(redis_url: str, tmp_path: Path) -> AsyncIterator[Platform]:
    """Give one logic and two gateways."""
    async with running_platform(make_options(redis_url), tmp_path) as running:
        yield running

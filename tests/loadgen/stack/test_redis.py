"""Choosing a Redis: somebody else's, the system's, or the one in the wheel."""

import os
from pathlib import Path

import pytest
from redis.asyncio import Redis

from loadgen.errors import LoadgenError
from loadgen.stack.group import PartGroup
from loadgen.stack.plan import HOST, plan_redis
from loadgen.stack.ports import free_port
from loadgen.stack.redis import ExternalRedis, RedisBinary, find_redis, require_reachable


def make_program(path: Path) -> Path:
    """Make an executable file."""
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_redis_url_wins(tmp_path: Path) -> None:
    """REDIS_URL is used when it is set, even where a server is installed."""
    make_program(tmp_path / "redis-server")
    environ = {"REDIS_URL": "redis://db:6380/2", "PATH": str(tmp_path)}
    assert find_redis(environ) == ExternalRedis("redis://db:6380/2")


def test_the_systems_server_comes_second(tmp_path: Path) -> None:
    """Without REDIS_URL the first redis-server of the PATH is used."""
    program = make_program(tmp_path / "redis-server")
    assert find_redis({"PATH": str(tmp_path), "REDIS_URL": ""}) == RedisBinary(program)


def test_the_address_hides_the_password() -> None:
    """What may be shown of a URL is its address."""
    assert ExternalRedis("redis://user:pass@db.example:6380/2").address == "db.example:6380"


async def test_the_wheels_server_runs_where_none_is_installed(tmp_path: Path) -> None:
    """With an empty PATH the server in the Python package is found; it runs and leaves no file behind."""
    choice = find_redis({"PATH": ""})
    assert isinstance(choice, RedisBinary)
    data, logs, port = tmp_path / "data", tmp_path / "logs", free_port()
    data.mkdir()
    logs.mkdir()
    async with PartGroup(logs, os.environ) as group:
        await group.start([plan_redis(choice.path, port, data)])
        async with Redis(host=HOST, port=port) as client:
            await client.set("key", "value")
            assert await client.get("key") == b"value"
        assert await group.stop("redis") == 0
    assert list(data.iterdir()) == []


async def test_an_unreachable_redis_url_is_one_line() -> None:
    """A REDIS_URL where nothing answers is said before anything starts, without its password."""
    url = f"redis://:secret@{HOST}:{free_port()}/0"
    with pytest.raises(LoadgenError, match="where no Redis answers: Connection refused") as caught:
        await require_reachable(ExternalRedis(url))
    assert "secret" not in str(caught.value)


async def test_a_redis_url_without_a_valid_port_is_one_line() -> None:
    """A port that is no number is named instead of a traceback."""
    with pytest.raises(LoadgenError, match="no valid port: db:x1"):
        await require_reachable(ExternalRedis("redis://db:x1/0"))

"""One path is enough: with Redis pub/sub cut, or the links cut, messages still arrive, in order and once."""

from pathlib import Path

import pytest
import redis

from tests.redis_server import RedisServer, free_port
from tests.system.platform import Platform, Viewer, make_options, running_platform
from tests.system.proxy import Proxy

pytestmark = pytest.mark.system

GATEWAY_USER = "gateway"
PASSWORD = "only-for-this-test"


def set_acl(admin: redis.Redis, *rules: str) -> None:
    """Change what the gateways may do in Redis."""
    admin.execute_command("ACL", "SETUSER", GATEWAY_USER, *rules)  # type: ignore[no-untyped-call]  # redis-py's own


async def push_and_check(platform: Platform, viewers: list[Viewer], first: int, count: int) -> None:
    """Push `count` numbers from `first` on, and check that every viewer has all numbers so far, once, in order."""
    for n in range(first, first + count):
        receipt = await platform.push("cut", [n])
        assert receipt["accepted"] == 1
    for viewer in viewers:
        assert await viewer.items(first + count) == list(range(first + count))


async def viewers_of_both(platform: Platform) -> list[Viewer]:
    """Return a viewer of the room on each gateway."""
    viewers = [await platform.viewer(gateway) for gateway in (0, 1)]
    for viewer in viewers:
        await viewer.join("cut")
    return viewers


async def test_messages_arrive_with_pubsub_cut(redis_url: str, tmp_path: Path) -> None:
    """Redis takes the gateways' right to subscribe away: the links alone deliver; given back, both paths work again."""
    admin = redis.Redis.from_url(redis_url)
    set_acl(admin, "on", f">{PASSWORD}", "~*", "&*", "+@all")
    url = redis_url.replace("redis://", f"redis://{GATEWAY_USER}:{PASSWORD}@")
    env = {f"gateway-{number}": {"GATEWAY_REDIS_URL": url} for number in (1, 2)}
    async with running_platform(make_options(redis_url, env=env), tmp_path) as platform:
        viewers = await viewers_of_both(platform)
        await push_and_check(platform, viewers, 0, 5)
        set_acl(admin, "resetchannels")
        before = [await platform.until(gateway, lambda stats: not stats["subscribed"]) for gateway in (0, 1)]
        await push_and_check(platform, viewers, 5, 50)
        for gateway in (0, 1):
            stats = await platform.gateway_stats(gateway)
            assert stats["pushes_received"]["redis"] == before[gateway]["pushes_received"]["redis"]
        set_acl(admin, "&*")
        for gateway in (0, 1):
            await platform.until(gateway, lambda stats: bool(stats["subscribed"]))
        await push_and_check(platform, viewers, 55, 20)
        stats = await platform.until(0, lambda stats: stats["pushes_received"]["redis"] >= 25)
        assert stats["messages_missing"] == 0
    admin.close()


async def test_messages_arrive_with_the_links_cut(redis_url: str, tmp_path: Path) -> None:
    """The links run through proxies that are cut: Redis alone delivers; mended, the links come back by themselves."""
    ports = [free_port(), free_port()]
    proxies = [Proxy(port) for port in ports]
    for proxy in proxies:
        await proxy.start()
    env = {
        f"gateway-{number}": {
            "GATEWAY_LINK_PORT": str(ports[number - 1]),
            "GATEWAY_LINK_ADDRESS": f"127.0.0.1:{proxies[number - 1].port}",
        }
        for number in (1, 2)
    }
    try:
        async with running_platform(make_options(redis_url, env=env), tmp_path) as platform:
            viewers = await viewers_of_both(platform)
            await push_and_check(platform, viewers, 0, 5)
            for proxy in proxies:
                await proxy.cut()
            for gateway in (0, 1):
                await platform.until(gateway, lambda stats: stats["links"] == [])
            await push_and_check(platform, viewers, 5, 50)
            for proxy in proxies:
                await proxy.start()
            for gateway in (0, 1):
                await platform.until(gateway, lambda stats: len(stats["links"]) == 1)
            await push_and_check(platform, viewers, 55, 20)
    finally:
        for proxy in proxies:
            await proxy.cut()


@pytest.mark.parametrize("path", ["http2", "redis"])
async def test_each_path_works_alone_by_setting(redis_url: str, tmp_path: Path, path: str) -> None:
    """LOGIC_PATHS with one path delivers everything over that path."""
    env = {"logic": {"LOGIC_PATHS": path}}
    async with running_platform(make_options(redis_url, env=env), tmp_path) as platform:
        viewers = await viewers_of_both(platform)
        await push_and_check(platform, viewers, 0, 20)
        stats = await platform.gateway_stats(0)
        assert stats["pushes_received"] == {path: 20}


async def test_redis_lost_its_data_and_the_room_goes_on(redis_url: str, tmp_path: Path) -> None:
    """When Redis forgets a room's sequence, a new epoch starts and viewers that stayed receive it without a stall."""
    async with running_platform(make_options(redis_url), tmp_path) as platform:
        viewers = await viewers_of_both(platform)
        await push_and_check(platform, viewers, 0, 5)
        with redis.Redis.from_url(redis_url) as admin:
            admin.flushall()
        await push_and_check(platform, viewers, 5, 5)
        epochs = [frame["epoch"] for frame in viewers[0].pushes()]
        assert len(set(epochs)) == 2
        assert viewers[0].pushes()[-1]["seq"] == 5


async def test_redis_dies_and_comes_back(tmp_path: Path) -> None:
    """Without Redis a push is refused with 503; when Redis is back, pushes reach the viewers that stayed, in order."""
    server = RedisServer()
    server.start()
    try:
        async with running_platform(make_options(server.url), tmp_path) as platform:
            viewers = await viewers_of_both(platform)
            await push_and_check(platform, viewers, 0, 5)
            server.kill()
            body = {"messages": [{"data": "lost"}]}
            status, problem = await platform.call("POST", "/v1/rooms/cut/messages", body)
            assert (status, problem["code"]) == (503, "unavailable")
            server.start()
            for gateway in (0, 1):
                await platform.until(gateway, lambda stats: bool(stats["subscribed"]))
            await platform.until_accepted("ready-again")
            await push_and_check(platform, viewers, 5, 20)
            assert len({frame["epoch"] for frame in viewers[0].pushes()}) == 2
    finally:
        server.stop()


async def test_a_gateway_that_starts_later_joins_in(redis_url: str, tmp_path: Path) -> None:
    """A gateway killed and started again is found by logic, knows the room's position and serves it."""
    async with running_platform(make_options(redis_url), tmp_path) as platform:
        viewers = await viewers_of_both(platform)
        await push_and_check(platform, viewers, 0, 10)
        await platform.restart_gateway(1)
        back = await platform.viewer(1)
        answer = await back.join("cut")
        assert answer["seq"] == 10
        await platform.push("cut", ["after"])
        assert await back.items(1) == ["after"]
        assert (await viewers[0].items(11))[-1] == "after"

"""The whole logic in one process: its ports, its health, its leaving."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr
from redis.asyncio import Redis

from k8s.registry import Registrant, Registration
from logic.api.keys import ApiKeySetting, Scope
from logic.app import LogicService
from logic.settings import LogicSettings
from protocol.envelope import decode_block
from tests.logic.conftest import MakeGateway
from tests.logic.gateway_peer import TOKEN, GatewayPeer
from tests.redis_server import RedisServer, free_port

KEY = "key-of-the-tests-0123456789"
HEADERS = {"Authorization": f"Bearer {KEY}"}
MakeLogic = Callable[..., Awaitable[LogicService]]


@pytest.fixture
async def logic(stack: AsyncExitStack, redis: Redis, shared_redis: RedisServer) -> MakeLogic:
    """Starts logics that stop at the end of the test."""

    async def make(url: str | None = None, **options: Any) -> LogicService:
        keys = (ApiKeySetting(name="shop", key=SecretStr(KEY), scopes=tuple(Scope)),)
        given: dict[str, Any] = {"port": 0, "ops_port": 0, "api_keys": keys, "link_token": SecretStr(TOKEN), **options}
        service = LogicService(LogicSettings(redis_url=SecretStr(url or shared_redis.url), **given))
        stack.push_async_callback(service.stop)
        await service.start()
        return service

    return make


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client."""
    async with aiohttp.ClientSession() as session:
        yield session


async def push(http: aiohttp.ClientSession, logic: LogicService, text: str = "hi") -> tuple[int, Any]:
    """Push one message to room r; return status and answer."""
    url = f"http://127.0.0.1:{logic.api_port}/v1/rooms/r/messages"
    async with http.post(url, json={"data": text}, headers=HEADERS) as response:
        return response.status, await response.json(content_type=None)


async def ready(http: aiohttp.ClientSession, logic: LogicService) -> tuple[int, Any]:
    """Return status and answer of /readyz."""
    async with http.get(f"http://127.0.0.1:{logic.ops_port}/readyz") as response:
        return response.status, await response.json()


async def until_ready(http: aiohttp.ClientSession, logic: LogicService, condition: Callable[[int, Any], object]) -> Any:
    """Ask /readyz until the condition holds."""
    async with asyncio.timeout(20):
        while True:
            status, answer = await ready(http, logic)
            if condition(status, answer):
                return answer
            await asyncio.sleep(0.02)


async def test_a_push_over_http_reaches_registered_gateways(
    logic: MakeLogic, gateway: MakeGateway, redis: Redis, http: aiohttp.ClientSession
) -> None:
    """Gateways that entered themselves in Redis are found, linked and reached."""
    peers = [await gateway("one"), await gateway("two", instance=8)]
    registrations = [Registration(redis, Registrant(p.name, p.instance, p.peer.address)) for p in peers]
    for registration in registrations:
        await registration.start(lambda ok, detail: None)
    service = await logic()
    answer = await until_ready(http, service, lambda _, body: "2 of 2" in body["dependencies"]["links"]["detail"])
    assert answer["ready"]
    status, receipt = await push(http, service)
    assert (status, receipt["gateways"], receipt["first_seq"]) == (200, {"reached": 2, "failed": 0}, 1)
    for peer in peers:
        (got,) = peer.pushes()
        assert decode_block(got.block, 1)[0].data == b'"hi"'
    for registration in registrations:
        await registration.stop()


async def test_a_viewers_message_comes_back_down(logic: MakeLogic, gateway: MakeGateway) -> None:
    """A submission on a link is published on the link and answered there; guests are refused by default."""
    peer = await gateway()
    await logic(gateways=(peer.peer.address,))
    await peer.linked()
    identity = {"id": "7", "name": "n", "authenticated": True}
    peer.submit(4, "r", json.dumps({"id": "guest:1"}).encode(), b'{"text":"hi"}')
    peer.submit(5, "r", json.dumps(identity).encode(), b'{"text":"hi"}')
    await peer.until(lambda peer: len(peer.results()) == 2)
    assert {(result.ref, result.seq, result.code) for result in peer.results()} == {
        (4, 0, "unauthenticated"),
        (5, 1, ""),
    }
    (got,) = peer.pushes()
    assert json.loads(decode_block(got.block, 1)[0].data)["text"] == "hi"


async def test_readiness_names_what_is_wrong(
    logic: MakeLogic, own_redis: RedisServer, http: aiohttp.ClientSession
) -> None:
    """Without Redis a logic is alive and not ready, says why, and recovers by itself."""
    service = await logic(own_redis.url)
    assert (await ready(http, service))[0] == 200
    own_redis.kill()
    body = await until_ready(http, service, lambda status, _: status == 503)
    assert not body["dependencies"]["redis"]["ok"]
    kept = await until_ready(http, service, lambda _, body: "kept" in body["dependencies"]["discovery"]["detail"])
    assert kept["dependencies"]["discovery"]["ok"]
    status, problem = await push(http, service)
    assert (status, problem["code"]) == (503, "unavailable")
    async with http.get(f"http://127.0.0.1:{service.ops_port}/livez") as response:
        assert response.status == 200
    own_redis.start()
    await until_ready(http, service, lambda status, _: status == 200)
    assert (await push(http, service))[0] == 200


async def test_starting_without_redis_is_possible(
    logic: MakeLogic, own_redis: RedisServer, http: aiohttp.ClientSession
) -> None:
    """A logic that is there before Redis waits for it without being ready."""
    own_redis.kill()
    service = await logic(own_redis.url)
    assert (await ready(http, service))[0] == 503
    own_redis.start()
    await until_ready(http, service, lambda status, _: status == 200)


@pytest.mark.parametrize(("paths", "status"), [(("http2",), 503), (("http2", "redis"), 200), (("redis",), 200)])
async def test_links_matter_where_they_are_the_only_path(
    logic: MakeLogic, http: aiohttp.ClientSession, paths: tuple[str, ...], status: int
) -> None:
    """A logic without any link is of no use when links are its only path, and of use when Redis is one."""
    service = await logic(gateways=(f"127.0.0.1:{free_port()}",), paths=paths)
    got, body = await ready(http, service)
    assert (got, body["dependencies"]["links"]["detail"]) == (status, "0 of 1 gateways linked")


async def test_numbers_are_served(logic: MakeLogic, http: aiohttp.ClientSession, gateway: MakeGateway) -> None:
    """/stats, /metrics and GET /v1/stats show what was pushed."""
    peer = await gateway()
    service = await logic(gateways=(peer.peer.address,))
    await peer.linked()
    await push(http, service)
    base = f"http://127.0.0.1:{service.ops_port}"
    async with http.get(f"{base}/stats") as response:
        stats = await response.json()
    assert (stats["pushes_published"], stats["gateways_known"]) == (1, 1)
    assert stats["gateways"][0]["address"] == peer.peer.address
    async with http.get(f"{base}/metrics") as response:
        assert "logic_pushes_published_total 1.0" in await response.text()
    async with http.get(f"http://127.0.0.1:{service.api_port}/v1/stats", headers=HEADERS) as response:
        assert (await response.json())["pushes_published"] == 1


async def test_drain_finishes_and_says_farewell(
    logic: MakeLogic, gateway: MakeGateway, http: aiohttp.ClientSession
) -> None:
    """A leaving logic is not ready, refuses connections, keeps what it took, and ends its links in order."""
    peer: GatewayPeer = await gateway()
    service = await logic(gateways=(peer.peer.address,))
    await peer.linked()
    assert (await push(http, service))[0] == 200
    await service.drain()
    status, body = await ready(http, service)
    assert (status, body["draining"]) == (503, True)
    with pytest.raises(aiohttp.ClientConnectionError):
        await push(http, service)
    assert (peer.farewells, len(peer.pushes())) == (1, 1)
    await service.stop()

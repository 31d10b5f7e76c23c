"""The whole platform for a test: real processes, a real Redis, and clients that share no code with it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import websockets

from loadgen.stack.group import PartGroup
from loadgen.stack.plan import HOST, GatewayPorts, LogicPorts, Secrets, StackOptions, plan_stack
from tests.redis_server import free_port

PATIENCE_S = 20.0
Items = list[Any]


class Viewer:
    """A viewer on the independent `websockets` library. Remembers every frame it got."""

    def __init__(self, socket: websockets.ClientConnection) -> None:
        self._socket = socket
        self.frames: list[dict[str, Any]] = []

    async def send(self, kind: str, **data: Any) -> None:
        """Send one command."""
        await self._socket.send(json.dumps({"type": kind, "data": data}))

    async def receive(self, *kinds: str) -> dict[str, Any]:
        """Return the data of the next frame of one of these types; others are remembered and passed over."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                frame = json.loads(await self._socket.recv())
                self.frames.append(frame)
                if frame["type"] in kinds:
                    data: dict[str, Any] = frame["data"]
                    return data

    async def receive_text(self) -> str:
        """Return the next PUSH frame as it was on the wire."""
        async with asyncio.timeout(PATIENCE_S):
            while '"PUSH"' not in (text := str(await self._socket.recv())):
                self.frames.append(json.loads(text))
            return text

    async def join(self, room: str) -> dict[str, Any]:
        """Join a room and return the answer."""
        await self.send("JOIN", room=room)
        return await self.receive("JOINED")

    async def items(self, count: int) -> Items:
        """Receive until `count` items have come since the start, and return all of them."""
        while len(items := self.received_items()) < count:
            await self.receive("PUSH")
        return items

    def received_items(self) -> Items:
        """Return all items of all frames so far, in order."""
        return [item for frame in self.pushes() for item in frame["items"]]

    def pushes(self) -> list[dict[str, Any]]:
        """Return the data of all PUSH frames so far."""
        return [frame["data"] for frame in self.frames if frame["type"] == "PUSH"]


class Platform:
    """Logics and gateways that run, and how to talk to them."""

    def __init__(self, group: PartGroup, options: StackOptions, http: aiohttp.ClientSession, redis_url: str) -> None:
        self.group = group
        self.options = options
        self.redis_url = redis_url
        self._http = http
        self._viewers = AsyncExitStack()

    async def viewer(self, gateway: int, query: str = "") -> Viewer:
        """Connect a viewer to a gateway, counted from 0."""
        url = f"ws://{HOST}:{self.options.gateways[gateway].client}/ws{query}"
        return Viewer(await self._viewers.enter_async_context(websockets.connect(url, max_size=None)))

    async def push(
        self, room: str, data: Sequence[Any], *, logic: int = 0, headers: Mapping[str, str] = {}, **fields: Any
    ) -> dict[str, Any]:
        """Push messages to a room and return the receipt; fails the test on any other answer than 200."""
        body = {"messages": [{"data": item, **fields} for item in data]}
        status, answer = await self.call("POST", f"/v1/rooms/{room}/messages", body, logic=logic, headers=headers)
        assert status == 200, answer
        return answer

    async def call(
        self, method: str, path: str, body: Any = None, *, logic: int = 0, headers: Mapping[str, str] = {}
    ) -> tuple[int, dict[str, Any]]:
        """Call the push API with the development key; returns status and JSON."""
        url = f"http://{HOST}:{self.options.logics[logic].api}{path}"
        sent = {"Authorization": f"Bearer {self.options.secrets.api_key}", **headers}
        async with self._http.request(method, url, json=body, headers=sent) as response:
            return response.status, await response.json(content_type=None)

    async def gateway_stats(self, gateway: int) -> dict[str, Any]:
        """Return a gateway's /stats."""
        async with self._http.get(f"http://{HOST}:{self.options.gateways[gateway].ops}/stats") as response:
            stats: dict[str, Any] = await response.json()
            return stats

    async def until(self, gateway: int, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until a gateway's /stats fulfil a condition: another process' state has no event to await."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                stats = await self.gateway_stats(gateway)
                if condition(stats):
                    return stats
                await asyncio.sleep(0.02)

    async def until_accepted(self, room: str) -> None:
        """Push to a room until a logic takes it: what another process notices has no event to await."""
        async with asyncio.timeout(PATIENCE_S):
            while (await self.call("POST", f"/v1/rooms/{room}/messages", {"data": 0}))[0] != 200:
                await asyncio.sleep(0.1)

    async def restart_gateway(self, gateway: int) -> None:
        """Kill a gateway without warning, start it again, and wait until every logic has found it."""
        name = f"gateway-{gateway + 1}"
        self.group.signal(name, signal.SIGKILL)
        await self.group.wait(name)
        await self.group.start([part for part in plan_stack(self.options) if part.name == name])
        await self.until(gateway, lambda stats: len(stats["links"]) == len(self.options.logics))

    async def close(self) -> None:
        """Disconnect the viewers."""
        await self._viewers.aclose()


def make_options(
    redis_url: str, *, gateways: int = 2, logics: int = 1, env: Mapping[str, Mapping[str, str]] | None = None
) -> StackOptions:
    """Plan a platform on free ports, with short ticks."""
    settings = dict(env or {})
    for number in range(1, gateways + 1):
        name = f"gateway-{number}"
        settings[name] = {"GATEWAY_TICK_MS": "100", "GATEWAY_DRAIN_SECONDS": "0.2", **settings.get(name, {})}
    return StackOptions(
        redis_url=redis_url,
        secrets=Secrets.fresh(),
        gateways=tuple(GatewayPorts(free_port(), free_port(), free_port()) for _ in range(gateways)),
        logics=tuple(LogicPorts(free_port(), free_port()) for _ in range(logics)),
        env=settings,
    )


@asynccontextmanager
async def running_platform(options: StackOptions, directory: Path) -> AsyncIterator[Platform]:
    """Start a platform, wait until every logic has a link to every gateway, and end it with the block."""
    async with PartGroup(directory, os.environ) as group, aiohttp.ClientSession() as http:
        await group.start(plan_stack(options))
        platform = Platform(group, options, http, options.redis_url)
        try:
            wanted = len(options.logics) if "http2" in _paths(options) else 0
            for gateway in range(len(options.gateways)):
                await platform.until(gateway, lambda stats: len(stats["links"]) >= wanted)
            yield platform
        finally:
            await platform.close()


def _paths(options: StackOptions) -> str:
    logic = "logic" if len(options.logics) == 1 else "logic-1"
    return options.env.get(logic, {}).get("LOGIC_PATHS", "http2,redis")

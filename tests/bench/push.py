"""Push to viewer latency in quiet rooms, and what one logic takes, on the whole platform."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp

from loadgen.stack.plan import HOST
from tests.bench.measure import Result, cpu_seconds, median, percentile
from tests.system.platform import Platform, make_options, running_platform

ROOMS = 24
PUSHES = 480
BETWEEN_S = 0.05
"""24 rooms in turn, 50 ms apart: every room is quiet (1.2 s between its pushes, a tick is 1 s)."""

RUNS = 5
REQUESTS = 6_000
CONNECTIONS = 32
BULK_MESSAGES = 200_000
BULK_PER_LINE = 100
SINGLE_LINES = 40_000
DATA = json.dumps(
    {"type": "danmaku", "text": "前排围观,主播加油!", "user": {"id": "7", "name": "viewer"}}, ensure_ascii=False
)


async def measure_push(directory: Path, redis_url: str) -> list[Result]:
    """Run the whole platform (one logic, two gateways) and return the rows."""
    env = {f"gateway-{n}": {"GATEWAY_TICK_MS": "1000", "GATEWAY_LOG_LEVEL": "warning"} for n in (1, 2)}
    env["logic"] = {"LOGIC_LOG_LEVEL": "warning"}
    async with running_platform(make_options(redis_url, env=env), directory) as platform:
        rows = await _latency(platform)
        rows += await _requests(platform)
        rows += await _bulk(platform, "messages", BULK_PER_LINE, BULK_MESSAGES)
        rows += await _bulk(platform, "messages, one a line,", 1, SINGLE_LINES)
    return rows


async def _latency(platform: Platform) -> list[Result]:
    viewers = [await platform.viewer(n % 2) for n in range(ROOMS)]
    for n, viewer in enumerate(viewers):
        await viewer.join(f"quiet-{n}")
    sent: dict[int, float] = {}
    seconds: list[float] = []

    async def watch(n: int) -> None:
        for _ in range(PUSHES // ROOMS):
            push = await viewers[n].receive("PUSH")
            seconds.extend(time.perf_counter() - sent[item] for item in push["items"])

    watchers = [asyncio.ensure_future(watch(n)) for n in range(ROOMS)]
    for number in range(PUSHES):
        sent[number] = time.perf_counter()
        await platform.push(f"quiet-{number % ROOMS}", [number])
        await asyncio.sleep(max(0.0, BETWEEN_S - (time.perf_counter() - sent[number])))
    await asyncio.gather(*watchers)
    p50, p99 = percentile(seconds, 0.5) * 1e3, percentile(seconds, 0.99) * 1e3
    return [
        Result("push to viewer, quiet room, p50", f"{p50:.2f} ms", "under 5 ms", p50 < 5),
        Result("push to viewer, quiet room, p99", f"{p99:.2f} ms", "under 20 ms", p99 < 20, f"{PUSHES} pushes"),
    ]


async def _requests(platform: Platform) -> list[Result]:
    """Send single-message pushes over a few connections with a client that costs next to nothing."""
    port, key = platform.options.logics[0].api, platform.options.secrets.api_key
    body = f'{{"data":{DATA}}}'.encode()
    request = (
        f"POST /v1/rooms/requests/messages HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body

    async def client() -> None:
        reader, writer = await asyncio.open_connection(HOST, port)
        for _ in range(REQUESTS // CONNECTIONS):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    async def run() -> int:
        await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
        return REQUESTS // CONNECTIONS * CONNECTIONS

    wall, core = await _rate(platform, run)
    return [_rate_row("push API, one message a request, requests", wall, core, 3_000)]


async def _bulk(platform: Platform, what: str, per_line: int, total: int) -> list[Result]:
    """Stream NDJSON lines and read a result for each."""
    port, key = platform.options.logics[0].api, platform.options.secrets.api_key
    messages = ",".join([f'{{"data":{DATA}}}'] * per_line)
    lines = [f'{{"room":"bulk-{n}","messages":[{messages}]}}\n'.encode() for n in range(100)]
    block = b"".join(lines)

    async def body() -> Any:
        for _ in range(total // per_line // len(lines)):
            yield block

    async def run() -> int:
        accepted = 0
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        async with (
            aiohttp.ClientSession(read_bufsize=2**20) as session,
            session.post(f"http://{HOST}:{port}/v1/publish", data=body(), headers=headers) as response,
        ):
            async for chunk in response.content.iter_any():
                accepted += chunk.count(b'"accepted":%d' % per_line) * per_line
        return accepted

    wall, core = await _rate(platform, run)
    return [_rate_row(f"/v1/publish, {what} {per_line} a line", wall, core, 100_000 if per_line > 1 else None)]


async def _rate(platform: Platform, run: Callable[[], Any]) -> tuple[float, float]:
    """Return how many a second there were by the clock, and how many per second of the logic's CPU: medians."""
    pid = platform.group.pid("logic")
    by_clock, by_cpu = [], []
    for _ in range(RUNS):
        cpu, start = cpu_seconds(pid), time.perf_counter()
        done = await run()
        by_clock.append(done / (time.perf_counter() - start))
        by_cpu.append(done / (cpu_seconds(pid) - cpu))
    return median(by_clock), median(by_cpu)


def _rate_row(figure: str, wall: float, core: float, reach: int | None) -> Result:
    note = f"medians of {RUNS} runs; {wall:,.0f} by the clock, client, Redis and gateways beside it"
    reached = None if reach is None else core >= reach
    return Result(f"{figure} per second of logic CPU", f"{core:,.0f}", f"{reach:,}" if reach else "", reached, note)

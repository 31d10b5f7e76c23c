"""CPU per delivered frame against a C loop of send(), and memory per idle joined viewer, in the same run."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from asyncio.subprocess import PIPE, Process
from pathlib import Path

import redis.asyncio

from loadgen.stack.group import PartGroup
from loadgen.stack.plan import GatewayPorts, Secrets, StackOptions, plan_stack
from protocol.envelope import encode_block, encode_room_push, room_push_parts
from protocol.message import Message
from protocol.partitions import channel, partition_of
from tests.bench.measure import Result, cpu_seconds, median, memory_bytes
from tests.redis_server import free_port

ROOM = "bench"
FRAME_BYTES = 1024
ROUNDS = 7
WARM_UP = 2
PAUSE_S = 0.4
"""Between rounds: everybody has read the last frame."""


async def start_viewers(port: int, count: int, room: str | None) -> Process:
    """Start viewers in a process of their own; returns when all are connected."""
    arguments = ["-m", "tests.bench.viewers", "--port", str(port), "--count", str(count)]
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, *(["--room", room] if room else []), stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None, "piped"
    assert await process.stdout.readline() == b"ready\n", "the viewers could not connect"
    return process


class SendLoop:
    """The C baseline: `send()` to every connection, nothing else."""

    def __init__(self, directory: Path, count: int) -> None:
        self._directory = directory
        self._count = count
        self._process: Process | None = None
        self._viewers: Process | None = None

    async def start(self) -> None:
        """Compile it, start it, connect its receivers."""
        program = self._directory / "send_loop"
        source = Path(__file__).with_name("send_loop.c")
        compiler = await asyncio.create_subprocess_exec("cc", "-O2", "-o", program, source)
        assert await compiler.wait() == 0, "the baseline does not compile"
        self._process = await asyncio.create_subprocess_exec(
            program, str(self._count), str(FRAME_BYTES), stdin=PIPE, stdout=PIPE
        )
        assert self._process.stdout is not None, "piped"
        port = int(await self._process.stdout.readline())
        self._viewers = await start_viewers(port, self._count, None)

    async def round(self) -> float:
        """Send one frame to all; returns CPU seconds per frame."""
        assert self._process is not None, "started"
        assert self._process.stdin is not None, "piped"
        assert self._process.stdout is not None, "piped"
        self._process.stdin.write(b"\n")
        nanoseconds, whole = map(int, (await self._process.stdout.readline()).split())
        assert whole == self._count, "a socket was full"
        return nanoseconds / 1e9 / self._count

    def stop(self) -> None:
        """End both processes."""
        for process in (self._process, self._viewers):
            if process is not None:
                process.kill()


class GatewayUnderTest:
    """A gateway with `count` viewers of one room, pushed to over Redis as a logic would."""

    def __init__(self, group: PartGroup, redis_url: str, count: int) -> None:
        self._group = group
        self._redis = redis.asyncio.Redis.from_url(redis_url)
        self._redis_url = redis_url
        self._count = count
        self._epoch = time.time_ns() // 1000
        self._seq = 0
        self._viewers: Process | None = None
        self.memory_per_viewer = 0.0
        self.handshake_cpu_s = 0.0

    async def start(self) -> None:
        """Start it, connect the viewers, and note what they cost."""
        ports = GatewayPorts(free_port(), free_port(), free_port())
        settings = {"GATEWAY_TICK_MS": "50", "GATEWAY_LOG_LEVEL": "warning"}
        options = StackOptions(self._redis_url, Secrets.fresh(), (ports,), (), env={"gateway-1": settings})
        await self._group.start(plan_stack(options))
        self._pid = self._group.pid("gateway-1")
        memory, cpu = memory_bytes(self._pid), cpu_seconds(self._pid)
        self._viewers = await start_viewers(ports.client, self._count, ROOM)
        await asyncio.sleep(1)
        self.handshake_cpu_s = (cpu_seconds(self._pid) - cpu) / self._count
        self.memory_per_viewer = (memory_bytes(self._pid) - memory) / self._count

    async def round(self) -> float:
        """Push one message to the room; returns CPU seconds per delivered frame, everything included."""
        self._seq += 1
        head = b'{"type":"PUSH","data":{"room":"bench","items":[],"seq":1,"epoch":%d}}' % self._epoch
        data = b'"' + b"x" * (FRAME_BYTES - len(head) - 6) + b'"'
        before = cpu_seconds(self._pid)
        parts = room_push_parts(ROOM, 1, 1, encode_block([Message(data)]))
        envelope = encode_room_push(parts[0], self._epoch, self._seq, parts[1])
        await self._redis.spublish(channel(partition_of(ROOM)), envelope)
        await asyncio.sleep(PAUSE_S)
        return (cpu_seconds(self._pid) - before) / self._count

    async def stop(self) -> None:
        """Disconnect everybody."""
        if self._viewers is not None:
            self._viewers.kill()
        await self._redis.aclose()


async def measure_fanout(directory: Path, redis_url: str, viewers: int) -> list[Result]:
    """Measure both in turn, round by round, and return the rows."""
    has_compiler = shutil.which("cc") is not None
    loop = SendLoop(directory, viewers)
    async with PartGroup(directory, os.environ) as group:
        gateway = GatewayUnderTest(group, redis_url, viewers)
        try:
            await gateway.start()
            if has_compiler:
                await loop.start()
            ours, baseline = [], []
            for _ in range(WARM_UP + ROUNDS):
                ours.append(await gateway.round())
                if has_compiler:
                    baseline.append(await loop.round())
                    await asyncio.sleep(PAUSE_S)
        finally:
            loop.stop()
            await gateway.stop()
    return _rows(gateway, viewers, ours[WARM_UP:], baseline[WARM_UP:])


def _rows(gateway: GatewayUnderTest, viewers: int, ours: list[float], baseline: list[float]) -> list[Result]:
    frame = median(ours)
    rows = [Result(f"gateway CPU per delivered frame, {viewers:,} viewers, 1 KiB", f"{frame * 1e6:.2f} us")]
    if baseline:
        ratio = frame / median(baseline)
        rows.append(Result("  the C send() loop beside it", f"{median(baseline) * 1e6:.2f} us"))
        rows.append(Result("  ratio", f"{ratio:.2f}", "1.30 or less", ratio <= 1.3, f"medians of {len(ours)} rounds"))
    else:
        rows.append(Result("  ratio", "not measured", note="no C compiler here"))
    memory = gateway.memory_per_viewer
    rows.append(Result("gateway memory per idle joined viewer", f"{memory:,.0f} B", "2,048 B or less", memory <= 2048))
    cpu = gateway.handshake_cpu_s
    rows.append(
        Result("gateway CPU per handshake and join", f"{cpu * 1e6:.0f} us", note=f"{1 / cpu:,.0f} a second a core")
    )
    return rows

"""Joins, leaves, aborts and pauses by the thousand during continuous fan-out: every stream stays right."""

import asyncio
import json
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import cast

from protocol.envelope import RoomPush
from protocol.websocket.frames import OP_TEXT, encode_frame
from protocol.websocket.receiver import Close, Text
from tests.gateway.embedded import EPOCH, push
from tests.gateway.sockets.platform import Platform, Start, upgrade_request
from tests.gateway.viewer import MASK, ClientReader

CLIENTS = 200
ROOMS = ("a", "b", "c")
OPERATIONS = 8_000
PATIENCE_S = 60.0


class Wanderer(asyncio.Protocol):
    """A client that checks every byte it receives against what it has joined."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport | None = None
        self.reader: ClientReader | None = None
        self.head = b""
        self.expected: dict[str, int] = {}
        self.answers: asyncio.Queue[str] = asyncio.Queue()
        self.items = 0
        self.faults: list[str] = []
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is one without being a subclass.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(upgrade_request())

    def data_received(self, data: bytes) -> None:
        if self.reader is None:
            self.head += data
            head, end, data = self.head.partition(b"\r\n\r\n")
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101 "):
                self.faults.append(f"not a handshake: {head!r}")
            self.reader = ClientReader()
            self.answers.put_nowait("OPEN")
        for event in self.reader.feed(data):
            if isinstance(event, Text):
                message = json.loads(event.payload)
                self._check(message["type"], message["data"])
            elif not isinstance(event, Close):
                self.faults.append(f"unexpected {event}")

    def _check(self, kind: str, data: dict[str, object]) -> None:
        room = str(data.get("room"))
        if kind == "PUSH":
            items = data["items"]
            assert isinstance(items, list)
            start = self.expected.get(room)
            if start is None:
                self.faults.append(f"PUSH of {room}, which is not joined")
            elif items != list(range(start, start + len(items))) or data["seq"] != items[-1]:
                self.faults.append(f"expected {start} in {room}, got {items} with seq {data['seq']}")
            self.expected[room] = items[-1] + 1
            self.items += len(items)
        elif kind == "JOINED":
            assert isinstance(data["seq"], int)
            self.expected[room] = data["seq"] + 1
            self.answers.put_nowait(kind)
        elif kind == "LEFT":
            del self.expected[room]
            self.answers.put_nowait(kind)
        else:
            self.faults.append(f"unexpected {kind} {data}")

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self.reader is not None and not (self.reader.at_rest or self.reader.ended):
            self.faults.append("the stream ended within a frame")
        self.lost.set()

    async def ask(self, kind: str, room: str) -> None:
        """Send a command and wait for its answer."""
        assert self.transport is not None
        text = json.dumps({"type": kind, "data": {"room": room}}).encode()
        self.transport.write(encode_frame(OP_TEXT, text, mask=MASK))
        await self.answers.get()


class Storm:
    """The clients, the publisher, and the counts of what they did."""

    def __init__(self, platform: Platform) -> None:
        self.platform = platform
        self.rng = random.Random(11)
        self.operations = 0
        self.pushed = 0
        self.received = 0
        self.faults: list[str] = []

    async def wander(self) -> None:
        """Connect, join and leave at random, go in different ways, come back."""
        loop = asyncio.get_running_loop()
        while self.operations < OPERATIONS:
            transport, client = await loop.create_connection(Wanderer, "127.0.0.1", self.platform.listener.port)
            await client.answers.get()
            for _ in range(self.rng.randrange(1, 12)):
                await self._do_something(client)
            self.operations += 1
            (transport.abort if self.rng.random() < 0.5 else transport.close)()
            await client.lost.wait()
            self.received += client.items
            self.faults += client.faults

    async def _do_something(self, client: Wanderer) -> None:
        self.operations += 1
        room = self.rng.choice(ROOMS)
        if room in client.expected:
            await client.ask("LEAVE", room)
            assert room not in client.expected
        else:
            await client.ask("JOIN", room)
        if self.rng.random() < 0.3:
            await asyncio.sleep(self.rng.random() * 0.05)

    async def publish(self) -> None:
        """Push all the time, each push twice, some pairs in the wrong order."""
        hub = self.platform.gateway.hub
        for pushes in self._endless_pushes():
            copies = pushes + pushes
            self.rng.shuffle(copies)
            for item in copies:
                hub.push_to_room(item)
            await asyncio.sleep(0.001)

    def _endless_pushes(self) -> Iterator[list[RoomPush]]:
        last = dict.fromkeys(ROOMS, 0)
        while True:
            room = self.rng.choice(ROOMS)
            pushes: list[RoomPush] = []
            for _ in range(self.rng.randrange(1, 4)):
                count = self.rng.randrange(1, 4)
                pushes.append(push(room, last[room] + 1, count))
                last[room] += count
            # As with Redis, the position is there before the copies are.
            self.platform.positions.known[room] = (EPOCH, last[room])
            yield pushes


async def test_churn_during_fan_out(start: Start) -> None:
    """Every stream consists of whole frames, of joined rooms only, gapless from the position that JOINED told."""
    platform = await start(buckets=64, fanout_threads=2)
    storm = Storm(platform)
    publisher = asyncio.create_task(storm.publish())
    try:
        async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
            for _ in range(CLIENTS):
                group.create_task(storm.wander())
    finally:
        publisher.cancel()
        with suppress(asyncio.CancelledError):
            await publisher
    assert storm.faults == []
    assert storm.operations >= OPERATIONS
    assert storm.received > OPERATIONS
    await platform.until(lambda: not platform.gateway.hub.connections)
    assert platform.gateway.counters.messages_missing == 0

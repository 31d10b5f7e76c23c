"""One gateway on a free port, its clock, and clients of two kinds: an independent library and raw sockets."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as websockets_connect

from gateway.core import DIALECTS, Gateway
from gateway.listener import Listener
from gateway.pages import make_pages
from gateway.sweep import CLOSING_S
from protocol.websocket.frames import OP_TEXT, encode_close, encode_frame
from protocol.websocket.receiver import Close, Event
from tests.gateway.embedded import EPOCH, PATIENCE_S, Positions, push, settings
from tests.gateway.viewer import MASK, ClientReader, text_of

ROOM = "42"
CLOCK_S = 0.02
KEY = "dGhlIHNhbXBsZSBub25jZQ=="


class Platform:
    """A gateway as `gateway.app` puts it together, without Redis and links."""

    def __init__(self, **changes: Any) -> None:
        made = settings(**changes)
        self.positions = Positions()
        self.gateway = Gateway(made, self.positions)
        self.listener = Listener(self.gateway, DIALECTS, make_pages(), made.handshake_seconds)
        self._clock: asyncio.Task[None] | None = None
        self._clients: list[ClientConnection] = []
        self._raw: list[RawClient] = []
        self._observer: Viewer | None = None
        self._last_seq: dict[str, int] = {}

    async def start(self) -> None:
        """Open the port."""
        self.gateway.fanout.start()
        await self.listener.start("127.0.0.1", 0)
        self._clock = asyncio.create_task(self._keep_time())

    async def stop(self) -> None:
        """Close everything."""
        for raw in self._raw:
            await raw.close()
        for client in self._clients:
            await client.close()
        await self.listener.stop()
        self.gateway.cut()
        await self.until(lambda: not self.gateway.hub.connections)
        assert self.gateway.hub.rooms == {}
        if self._clock is not None:
            self._clock.cancel()
            with suppress(asyncio.CancelledError):
                await self._clock

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(CLOCK_S)
            self.gateway.tick()
            self.listener.expire(loop.time())

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for a state that nothing announces."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                await asyncio.sleep(CLOCK_S / 4)

    # -- pushes

    def push(self, room: str = ROOM, count: int = 1, **options: Any) -> list[int]:
        """Push the next messages of a room; return their sequences, which are also the items."""
        first = self._last_seq.get(room, 0) + 1
        self._last_seq[room] = first + count - 1
        self.positions.known[room] = (EPOCH, first + count - 1)
        self.gateway.hub.push_to_room(push(room, first, count, **options))
        return list(range(first, first + count))

    # -- clients

    async def connect(self, path: str = "/ws", **options: Any) -> Viewer:
        """Connect with the independent library."""
        url = f"ws://127.0.0.1:{self.listener.port}{path}"
        client = await websockets_connect(url, ping_interval=None, close_timeout=PATIENCE_S, proxy=None, **options)
        self._clients.append(client)
        return Viewer(client)

    async def connect_raw(self, path: str = "/ws", *, upgrade: bool = True, receive_buffer: int = 0) -> RawClient:
        """Connect a socket, and shake hands unless told not to."""
        raw = await RawClient.open(self.listener.port, receive_buffer)
        self._raw.append(raw)
        if upgrade:
            await raw.shake_hands(path)
        return raw

    async def observe(self) -> None:
        """Let a viewer join the room that tests disturb."""
        self._observer = await self.connect()
        await self._observer.join(ROOM)

    async def undisturbed(self) -> None:
        """Push to the room; its viewer must get exactly that, and must have got nothing else since."""
        assert self._observer is not None
        seqs = self.push()
        data = {"room": ROOM, "items": seqs, "seq": seqs[-1], "epoch": EPOCH}
        assert await self._observer.hear() == ("PUSH", data)


Start = Callable[..., Awaitable[Platform]]


class Viewer:
    """A client made by the independent library."""

    def __init__(self, client: ClientConnection) -> None:
        self.client = client

    async def say(self, kind: str, **data: Any) -> None:
        """Send a command."""
        await self.client.send(json.dumps({"type": kind, "data": data}))

    async def hear(self) -> Any:
        """Wait for a message; return its type and data. Raises ConnectionClosed at the end."""
        async with asyncio.timeout(PATIENCE_S):
            message = json.loads(await self.client.recv())
        return message["type"], message["data"]

    async def ask(self, kind: str, **data: Any) -> Any:
        """Send a command and return what is heard next."""
        await self.say(kind, **data)
        return await self.hear()

    async def join(self, room: str) -> Any:
        """Join a room; return the answer's data."""
        kind, data = await self.ask("JOIN", room=room)
        assert kind == "JOINED", data
        return data

    async def ends(self) -> tuple[int | None, str | None]:
        """Wait for the end; return the close code and reason that the gateway gave."""
        async with asyncio.timeout(PATIENCE_S):
            await self.client.wait_closed()
        return self.client.close_code, self.client.close_reason


class RawClient:
    """A socket, for what a library would not send."""

    def __init__(self, end: socket.socket) -> None:
        self.socket = end
        self._reader = ClientReader()
        self._events: list[Event] = []

    @classmethod
    async def open(cls, port: int, receive_buffer: int = 0) -> RawClient:
        """Connect; a small receive buffer makes a slow viewer."""
        end = socket.socket()
        end.setblocking(False)
        if receive_buffer:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        await asyncio.get_running_loop().sock_connect(end, ("127.0.0.1", port))
        return cls(end)

    async def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def receive(self) -> bytes:
        """Return what comes next; empty at the end."""
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.get_running_loop().sock_recv(self.socket, 1 << 18)

    async def read_to_end(self) -> bytes:
        """Return everything until the gateway closes."""
        received = b""
        while data := await self.receive():
            received += data
        return received

    async def shake_hands(self, path: str = "/ws", headers: str = "") -> str:
        """Upgrade; return the response head. What follows it is kept for `event`."""
        await self.send(upgrade_request(path, headers))
        received = b""
        while b"\r\n\r\n" not in received:
            data = await self.receive()
            assert data, received
            received += data
        head, _, rest = received.partition(b"\r\n\r\n")
        self._events += self._reader.feed(rest)
        return head.decode()

    async def say(self, kind: str, **data: Any) -> None:
        """Send a command."""
        await self.send(encode_frame(OP_TEXT, json.dumps({"type": kind, "data": data}).encode(), mask=MASK))

    async def event(self) -> Event | None:
        """Return the next frame; None when the gateway has closed between two frames."""
        while not self._events:
            data = await self.receive()
            if not data:
                assert self._reader.at_rest or self._reader.ended, "the stream ended within a frame"
                return None
            self._events += self._reader.feed(data)
        return self._events.pop(0)

    async def hear(self) -> Any:
        """Return the type and data of the next message."""
        event = await self.event()
        assert event is not None, "the gateway closed"
        message = json.loads(text_of(event))
        return message["type"], message["data"]

    async def join(self, room: str = ROOM) -> Any:
        """Join a room; return the answer's data."""
        await self.say("JOIN", room=room)
        kind, data = await self.hear()
        assert kind == "JOINED"
        return data

    async def ends(self) -> Close:
        """Read to the Close frame and answer it; the gateway must close after that and send nothing more."""
        event = await self.event()
        while event is not None and not isinstance(event, Close):
            event = await self.event()
        assert event is not None, "no Close frame came"
        # Sooner than a client that does not answer is cut.
        async with asyncio.timeout(CLOSING_S / 2):
            with suppress(ConnectionError):
                await self.send(encode_close(event.code, mask=MASK))
                assert await self.read_to_end() == b""
        return event

    async def close(self) -> None:
        """Close the socket."""
        self.socket.close()

    def abort(self) -> None:
        """Reset the connection, as a crash does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


def upgrade_request(path: str = "/ws", headers: str = "") -> bytes:
    """Write the request of a WebSocket client."""
    return (
        f"GET {path} HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    ).encode()

"""A gateway that does only what a test tells it to: the JSON dialect of DESIGN 6, on the `websockets` library."""

import asyncio
import http
import json
from types import TracebackType
from typing import Any, Self

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

Frame = dict[str, Any]
STEP_S = 10.0
"""The longest a test waits for any one step; nothing but a failure waits that long."""


class Visit:
    """One connection of a client, seen from the gateway."""

    def __init__(self, socket: ServerConnection) -> None:
        self._socket = socket

    async def expect(self, kind: str) -> Frame:
        """Receive the next command, which has to be of this type, and give its data; unasked heartbeats are skipped."""
        async with asyncio.timeout(STEP_S):
            frame = json.loads(await self._socket.recv(decode=True))
            while frame["type"] == "PING" != kind:
                frame = json.loads(await self._socket.recv(decode=True))
        assert frame["type"] == kind, frame
        data: Frame = frame["data"]
        return data

    async def say(self, kind: str, **data: object) -> None:
        """Send one frame."""
        await self.say_raw(json.dumps({"type": kind, "data": data}, ensure_ascii=False))

    async def say_raw(self, text: str) -> None:
        """Send one text frame as it is."""
        await self._socket.send(text)

    async def admit(self, *, seq: int = 0, epoch: int = 1, online: int = 1, recovered: bool = False) -> Frame:
        """Receive a JOIN, answer it, and give its data."""
        join = await self.expect("JOIN")
        place = {"seq": seq, "epoch": epoch, "online": online, "recovered": recovered}
        await self.say("JOINED", room=join["room"], ref=join["ref"], **place)
        return join

    async def push(self, room: str, items: list[Any], seq: int, epoch: int = 1) -> None:
        """Send one batch."""
        await self.say("PUSH", room=room, items=items, seq=seq, epoch=epoch)

    async def close(self, code: int, reason: str = "") -> None:
        """Close with a code, and wait for the client's close frame."""
        await self._socket.close(code, reason)

    def cut(self) -> None:
        """Break the TCP connection without a word."""
        self._socket.transport.abort()

    async def closed(self) -> int | None:
        """Wait until the connection is closed, and give the code the client sent."""
        async with asyncio.timeout(STEP_S):
            await self._socket.wait_closed()
        return self._socket.protocol.close_rcvd.code if self._socket.protocol.close_rcvd else None


class ScriptedGateway:
    """A server whose visits a test takes one after the other; `refusals` handshakes are refused first."""

    def __init__(self) -> None:
        self.refusals = 0
        self.handshakes = 0
        self._visits: asyncio.Queue[Visit] = asyncio.Queue()
        self._server: Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await serve(self._visited, "127.0.0.1", 0, process_request=self._asked, ping_interval=None)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    @property
    def host(self) -> str:
        """Host and port."""
        assert self._server is not None
        name, port = self._server.sockets[0].getsockname()
        return f"{name}:{port}"

    @property
    def url(self) -> str:
        """Address of the WebSocket."""
        return f"ws://{self.host}/ws"

    async def visit(self) -> Visit:
        """Wait for the next connection."""
        async with asyncio.timeout(STEP_S):
            return await self._visits.get()

    def _asked(self, socket: ServerConnection, _: Request) -> Response | None:
        self.handshakes += 1
        if self.refusals == 0:
            return None
        self.refusals -= 1
        return Response(http.HTTPStatus.SERVICE_UNAVAILABLE, "not now", Headers({"Content-Length": "0"}), b"")

    async def _visited(self, socket: ServerConnection) -> None:
        self._visits.put_nowait(Visit(socket))
        await socket.wait_closed()

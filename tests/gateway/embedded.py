"""A gateway without ports: viewers on socket pairs, positions and pushes from the test."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import jwt

from gateway.connection import Connection
from gateway.core import Gateway
from gateway.hub import Position
from gateway.settings import GatewaySettings
from protocol.envelope import Broadcast, RoomPush, UserPush, encode_block
from protocol.message import Delivery, Message
from protocol.websocket.frames import OP_TEXT, encode_frame
from protocol.websocket.handshake import parse_request_head
from tests.gateway.viewer import DIALECT, MASK, ClientReader, SocketTransport, text_of

SECRET = "0123456789abcdef" * 4
TICK_MS = 50
PATIENCE_S = 10.0
EPOCH = 77


def settings(**changes: Any) -> GatewaySettings:
    """Make settings for tests: anonymous viewers, the shortest tick."""
    defaults = {
        "link_token": "x" * 16,
        "anonymous": True,
        "tick_ms": TICK_MS,
        "jwt_secret": SECRET,
        "buckets": 8,
        "outbox_bytes": 65_536,
    }
    return GatewaySettings.model_validate({**defaults, **changes})


def push(
    room: str, first: int, count: int = 1, *, epoch: int = EPOCH, size: int = 0, reliable: bool = False
) -> RoomPush:
    """Make a push whose items are their own sequences, padded to a size."""
    delivery = Delivery.RELIABLE if reliable else Delivery.LOSSY
    items = [b"%d" % seq if not size else b'"%d%b"' % (seq, b"x" * size) for seq in range(first, first + count)]
    return RoomPush(room, epoch, first, 0, count, encode_block(Message(item, delivery) for item in items))


def broadcast(counter: int, *items: bytes) -> Broadcast:
    """Make a push to everybody."""
    return Broadcast(1, counter, 0, len(items), encode_block(Message(item) for item in items))


def user_push(user: str, counter: int, *items: bytes) -> UserPush:
    """Make a push to a user."""
    return UserPush(user, 1, counter, 0, len(items), encode_block(Message(item) for item in items))


def token_of(user: str, **claims: Any) -> str:
    """Make a token for a user."""
    return jwt.encode({"sub": user, **claims}, SECRET, algorithm="HS256")


class Positions:
    """Implements `gateway.hub.ReadPosition`: answers from a table at once, or later when held back."""

    def __init__(self) -> None:
        self.known: dict[str, Position] = {}
        self.held_back = False
        self.asked: list[str] = []
        self._waiting: list[tuple[str, Callable[[Position], None]]] = []

    def __call__(self, room: str, answer: Callable[[Position], None]) -> None:
        self.asked.append(room)
        if self.held_back:
            self._waiting.append((room, answer))
        else:
            answer(self.known.get(room, (EPOCH, 0)))

    def answer(self) -> None:
        """Answer everything that waits."""
        waiting, self._waiting = self._waiting, []
        for room, answer in waiting:
            answer(self.known.get(room, (EPOCH, 0)))


class Client:
    """A viewer of an embedded gateway."""

    def __init__(self, gateway: Gateway, query: str = "", *, buffer_bytes: int | None = None) -> None:
        ours, self.end = socket.socketpair()
        ours.setblocking(False)
        self.end.setblocking(False)
        if buffer_bytes is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        self.transport = SocketTransport(ours)
        head = parse_request_head(f"GET /ws{query} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert head is not None
        self.connection: Connection = gateway.welcome(self.transport, DIALECT, head, b"")
        self.transport.protocol = self.connection
        self._reader = ClientReader()
        self._messages: list[Any] = []

    def say(self, kind: str, **data: Any) -> None:
        """Send one command."""
        text = json.dumps({"type": kind, "data": data}).encode()
        self.connection.data_received(encode_frame(OP_TEXT, text, mask=MASK))

    async def hear(self) -> Any:
        """Wait for the next message; return its type and data."""
        async with asyncio.timeout(PATIENCE_S):
            while not self._messages:
                data = await asyncio.get_running_loop().sock_recv(self.end, 1 << 20)
                assert data, "the gateway closed"
                self._messages += [json.loads(text_of(event)) for event in self._reader.feed(data)]
        message = self._messages.pop(0)
        return message["type"], message["data"]

    def heard(self) -> list[Any]:
        """Return what has arrived by now, without waiting."""
        with suppress(BlockingIOError):
            self._messages += [json.loads(text_of(event)) for event in self._reader.feed(self.end.recv(1 << 20))]
        messages, self._messages = self._messages, []
        return [(message["type"], message["data"]) for message in messages]

    async def join(self, room: str, **data: Any) -> Any:
        """Join a room; return the answer's data."""
        self.say("JOIN", room=room, **data)
        kind, answer = await self.hear()
        assert kind == "JOINED", answer
        return answer

    async def items(self, count: int) -> list[Any]:
        """Wait for so many items, over any number of frames."""
        items: list[Any] = []
        while len(items) < count:
            kind, data = await self.hear()
            if kind == "PUSH":
                items += data["items"]
        return items

    def is_behind(self) -> bool:
        """Whether the gateway has anything left to send."""
        return bool(self.transport.buffer) or self.connection.outbox is not None

    def lose(self) -> None:
        """End the connection as the event loop does when the client is gone."""
        if self.end.fileno() >= 0:
            self.connection.connection_lost(None)
            self.transport.socket.close()
            self.end.close()

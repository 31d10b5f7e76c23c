"""A viewer at the other end of a socket pair: our end is a real `Connection`, its transport is driven by the test."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from gateway.bucket import Bucket
from gateway.connection import Connection
from protocol.json_dialect import JsonDialect
from protocol.websocket.frames import OP_TEXT, Role, encode_frame
from protocol.websocket.limits import MessageLimits
from protocol.websocket.receiver import Event, FrameReceiver, Text

DIALECT = JsonDialect()
MASK = b"\x01\x02\x03\x04"
SMALL_BUFFER = 4_096
CLIENT_LIMITS = MessageLimits(4 * 1024 * 1024)


class SocketTransport(asyncio.Transport):
    """Implements the part of a transport that a connection uses; `flush` is the loop finding the socket writable."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__({"socket": end})
        self.socket = end
        self.buffer = b""
        self.protocol: asyncio.BaseProtocol | None = None
        self.closed = False
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0, "the transport must not hide bytes from the outbox"

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return len(self.buffer)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.buffer, "a connection hands over one chunk at a time"
        self.buffer = bytes(data)
        self._send()

    def _send(self) -> None:
        try:
            self.buffer = self.buffer[self.socket.send(self.buffer) :]
        except BlockingIOError:
            return
        except OSError:
            self.abort()

    def flush(self) -> None:
        """Write what the socket takes; tell the connection when nothing is left."""
        self._send()
        if not self.buffer:
            assert isinstance(self.protocol, asyncio.Protocol)
            self.protocol.resume_writing()

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True


class RecordingHost:
    """Implements `gateway.connection.Host` by writing down what it hears."""

    def __init__(self) -> None:
        self.now = 0.0
        self.payloads: list[bytes] = []
        self.closings: list[int] = []
        self.lost = 0
        self.delivered = 0
        self.shed: dict[str, int] = {}

    def command_received(self, connection: Connection, payload: bytes) -> None:
        self.payloads.append(payload)

    def connection_closing(self, connection: Connection, code: int) -> None:
        self.closings.append(code)
        connection.bucket.exit(connection)

    def messages_delivered(self, count: int) -> None:
        self.delivered += count

    def messages_shed(self, reason: str, count: int) -> None:
        self.shed[reason] = self.shed.get(reason, 0) + count

    def connection_lost(self, connection: Connection) -> None:
        self.lost += 1
        connection.bucket.forget(connection)


class Viewer:
    """A connection and the client's end of its socket, which reads only when it is told to."""

    def __init__(self, bucket: Bucket, host: RecordingHost | None = None, *, buffer_bytes: int | None = None) -> None:
        ours, self.end = socket.socketpair()
        ours.setblocking(False)
        self.end.setblocking(False)
        if buffer_bytes is not None:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
        self.host = host or RecordingHost()
        self.transport = SocketTransport(ours)
        self.connection = Connection(self.host, self.transport, bucket, DIALECT, ours.fileno())
        self.transport.protocol = self.connection
        self._reader = ClientReader()

    def says(self, payload: bytes, opcode: int = OP_TEXT) -> None:
        """Send one frame to the gateway."""
        self.connection.data_received(encode_frame(opcode, payload, mask=MASK))

    def raw(self) -> bytes:
        """Return every byte that has arrived."""
        received = b""
        while True:
            try:
                chunk = self.end.recv(1 << 20)
            except BlockingIOError:
                return received
            if not chunk:
                return received
            received += chunk

    def events(self) -> list[Event]:
        """Return every frame that has arrived."""
        return self._reader.feed(self.raw())

    def messages(self) -> list[Any]:
        """Return every JSON message that has arrived; there must be nothing else."""
        return [json.loads(text_of(event)) for event in self.events()]

    def is_behind(self) -> bool:
        """Whether the gateway has anything left to send."""
        return bool(self.transport.buffer) or self.connection.outbox is not None

    def drain(self) -> list[Any]:
        """Read until the gateway has nothing more to send."""
        messages: list[Any] = []
        while True:
            messages += self.messages()
            if not self.is_behind():
                return messages + self.messages()
            self.transport.flush()

    def fill(self) -> int:
        """Fill the socket, as a viewer that does not read does; returns the bytes to be read before anything else."""
        total = 0
        while True:
            try:
                total += self.transport.socket.send(b"f" * 4096)
            except BlockingIOError:
                return total

    def skip(self, size: int) -> None:
        """Read and drop the bytes of `fill`."""
        while size:
            size -= len(self.end.recv(size))

    def close(self) -> None:
        """Close both ends."""
        self.transport.socket.close()
        self.end.close()


class ClientReader:
    """Reads frames as a client does."""

    def __init__(self) -> None:
        self._receiver = FrameReceiver(Role.CLIENT, CLIENT_LIMITS)

    def feed(self, data: bytes) -> list[Event]:
        """Return the frames that the bytes complete."""
        return self._receiver.feed(data)

    @property
    def at_rest(self) -> bool:
        """Whether no frame is incomplete."""
        return self._receiver.at_rest

    @property
    def ended(self) -> bool:
        """Whether a Close came."""
        return self._receiver.ended


def text_of(event: Event) -> bytes:
    """Return the payload of what must be a text message."""
    assert isinstance(event, Text), event
    return event.payload


@contextmanager
def viewers(bucket: Bucket, count: int, *, buffer_bytes: int | None = None) -> Iterator[list[Viewer]]:
    """Make viewers that have entered a bucket."""
    made = [Viewer(bucket, buffer_bytes=buffer_bytes) for _ in range(count)]
    for viewer in made:
        bucket.enter(viewer.connection)
    yield made
    for viewer in made:
        viewer.close()

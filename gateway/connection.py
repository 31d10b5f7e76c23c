"""One viewer's connection after the upgrade: the asyncio protocol that stays, and nothing of HTTP with it.

Kept small: hundreds of thousands of these exist. No task, no timer, no buffer while idle; the time is read from the
gateway's coarse clock, so that idle connections share one number.
"""

import asyncio
from typing import TYPE_CHECKING, Protocol

from gateway.identity import Identity
from gateway.outbox import Outbox
from gateway.writer import DEAD
from protocol.codes import CloseCode
from protocol.dialect import Dialect, Shed
from protocol.websocket.errors import RemoteWebSocketError
from protocol.websocket.frames import Role, encode_close, encode_pong
from protocol.websocket.limits import MESSAGE_LIMITS
from protocol.websocket.receiver import Binary, Close, Event, FrameReceiver, Ping, Text, receive
from protocol.websocket.session import Action, State, advance, answer_close
from runtime.rate import TokenBucket

if TYPE_CHECKING:
    from gateway.bucket import Bucket


class Host(Protocol):
    """What a connection needs of the gateway it belongs to."""

    @property
    def now(self) -> float:
        """Monotonic seconds, as of the last look at the clock (at most a second ago)."""

    def command_received(self, connection: "Connection", payload: bytes) -> None:
        """Carry out one client message."""

    def connection_closing(self, connection: "Connection", code: int) -> None:
        """Our Close was sent: take the connection out, and abort it when it does not go by itself."""

    def messages_delivered(self, count: int) -> None:
        """Count messages that a slow connection's socket took in the end."""

    def messages_shed(self, reason: str, count: int) -> None:
        """Count messages that a slow connection did not get."""

    def connection_lost(self, connection: "Connection") -> None:
        """Take the connection out of everything; its descriptor is closed after this returns."""


class Connection(asyncio.Protocol):
    """The connection of one viewer.

    `attached`, `rooms`, `outbox`, `descriptor` and `overflowed` belong to the bucket and change under its lock only;
    the rest belongs to the event loop. `outbox` is None while the viewer keeps up.
    """

    __slots__ = (
        "_host",
        "_receiver",
        "_state",
        "attached",
        "bucket",
        "descriptor",
        "dialect",
        "errors",
        "heard_at",
        "identity",
        "outbox",
        "overflowed",
        "pinged",
        "rooms",
        "send_budget",
        "transport",
    )

    def __init__(
        self, host: Host, transport: asyncio.Transport, bucket: "Bucket", dialect: Dialect, descriptor: int
    ) -> None:
        self._host = host
        self._receiver: FrameReceiver | None = None
        self._state = State.OPEN
        self.transport = transport
        self.bucket = bucket
        self.dialect = dialect
        self.descriptor = descriptor
        self.attached = False
        self.rooms: tuple[str, ...] = ()
        self.outbox: Outbox | None = None
        self.overflowed = False
        self.heard_at = host.now
        self.pinged = False
        self.identity: Identity | None = None
        self.send_budget: TokenBucket | None = None
        self.errors = 0
        # Whatever the transport buffers would escape the outbox's limit: it gets one chunk at a time.
        transport.set_write_buffer_limits(high=0)

    def __repr__(self) -> str:
        return f"<Connection fd={self.descriptor} {self._state.value} rooms={len(self.rooms)} outbox={self.outbox}>"

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to close."""
        return self._state is State.OPEN

    # -- receiving

    def data_received(self, data: bytes) -> None:
        """Take bytes from the socket."""
        self.heard_at = self._host.now
        self.pinged = False
        failure: RemoteWebSocketError | None = None
        try:
            events, self._receiver = receive(data, self._receiver, role=Role.SERVER, limits=MESSAGE_LIMITS)
        except RemoteWebSocketError as error:
            events, failure = list(error.events), error
        for event in events:
            self._handle(event)
        if failure is not None:
            self._receiver = None
            self.close(failure.close_code, failure.message)

    def _handle(self, event: Event) -> None:
        if isinstance(event, Close):
            self._close_received(event)
        elif self._state is not State.OPEN:
            return
        elif isinstance(event, Text):
            self._host.command_received(self, event.payload)
        elif isinstance(event, Ping):
            self.send(encode_pong(event.payload))
        elif isinstance(event, Binary):
            self.close(CloseCode.UNSUPPORTED_DATA, f"binary message: the {self.dialect.name} dialect is text only")

    def _close_received(self, close: Close) -> None:
        if self._state is State.OPEN:
            self._state = advance(self._state, Action.RECEIVE_CLOSE)
            self._host.connection_closing(self, close.code)
            self._say_last(answer_close(close))
            self._state = advance(self._state, Action.SEND_CLOSE)
        elif self._state is State.CLOSING:
            self._state = advance(self._state, Action.RECEIVE_CLOSE)
        self._finish()

    def eof_received(self) -> bool:
        """Close when the peer has: a WebSocket has no half-closed state."""
        return False

    # -- sending

    def send(self, data: bytes) -> None:
        """Write one or more whole frames, in order with everything else; nothing follows a Close frame."""
        if self._state is State.OPEN and not self.bucket.send(self, data, self._host.now):
            self.attend()

    def attend(self) -> None:
        """Look after a connection that did not take what it was sent: it is slow, too slow, or gone."""
        if self.descriptor == DEAD:
            self.transport.abort()
        elif self.overflowed and self._state is State.OPEN:
            self.close(CloseCode.TOO_SLOW, "more was queued for this connection than its outbox holds")
        elif not self.transport.is_closing():
            self.resume_writing()

    def pause_writing(self) -> None:
        """Nothing to do: the transport holds one chunk, and the outbox what follows."""

    def resume_writing(self) -> None:
        """Hand the transport the next chunk, as long as it takes them at once."""
        while not self.transport.is_closing() and not self.transport.get_write_buffer_size():
            outbox = self.outbox
            chunk = self.bucket.next_chunk(self, self._shed_notice)
            if outbox is not None:
                outbox.progress_at = self._host.now
                self._host.messages_delivered(outbox.delivered)
                outbox.delivered = 0
            if chunk is None:
                self._finish()
                return
            self.transport.write(chunk)

    def _shed_notice(self, shed: dict[str, int]) -> bytes:
        self._host.messages_shed("slow_viewer", sum(shed.values()))
        return b"".join(self.dialect.encode_reply(Shed(room, count)) for room, count in shed.items())

    # -- closing

    def close(self, code: int, reason: str) -> None:
        """Begin to close: no frame follows the Close frame. Harmless when already closing."""
        if self._state is not State.OPEN:
            return
        self._state = advance(self._state, Action.SEND_CLOSE)
        self._host.connection_closing(self, code)
        self._say_last(encode_close(code, reason))

    def _say_last(self, frame: bytes) -> None:
        written, forgotten = self.bucket.last_word(self, frame, self._host.now)
        if forgotten:
            self._host.messages_shed("closed", forgotten)
        if not written:
            self.attend()

    def _finish(self) -> None:
        """Close the socket once the close handshake is over and everything is written."""
        if self._state is State.CLOSED and self.outbox is None:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave everything; the transport closes the descriptor when this returns."""
        self._state = State.CLOSED
        self._receiver = None
        self._host.connection_lost(self)
        if self.outbox is not None:
            self._host.messages_shed("slow_viewer", sum(self.outbox.shed.values()))
            self._host.messages_shed("closed", self.outbox.waiting)

"""One bidirectional stream, as its user sees it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from h2.errors import ErrorCodes

from runtime.http2.limits import CREDIT_BYTES
from runtime.logs import get_logger

LOGGER = get_logger("http2")


class StreamHandler(Protocol):
    """What the user of a stream implements. Called in the event loop; must be quick and not raise.

    `stream_lost` comes exactly once, at the end of the stream's life, and nothing comes after it. A handler
    that raises has its stream reset.
    """

    def stream_data(self, data: bytes) -> None:
        """Take bytes that the peer sent, in order; frame borders mean nothing."""

    def stream_ended(self) -> None:
        """Note that the peer sends no more; our half stays open until `end`."""

    def stream_lost(self, reason: str) -> None:
        """Note that the stream is gone. `reason` is for logs; "ended" when both sides ended it."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server's no to a stream: an HTTP status and a sentence."""

    status: int
    message: str


class Discard:
    """The handler of a stream that nobody wants: what comes is dropped, and credited."""

    def stream_data(self, data: bytes) -> None:
        """Drop the bytes."""

    def stream_ended(self) -> None:
        """Do nothing."""

    def stream_lost(self, reason: str) -> None:
        """Do nothing."""


class Wire(Protocol):
    """What a stream needs of its connection."""

    def wake(self, stream: Stream) -> None:
        """Have `stream`'s output sent, with that of this turn of the loop."""

    def credit(self, stream: Stream, size: int) -> None:
        """Tell the peer that `size` bytes were consumed."""

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """Send RST_STREAM and forget the stream."""

    def unsent_bytes(self) -> int:
        """Return what the socket has not taken yet."""


class Stream:
    """Bytes out by `write`, bytes in through the handler.

    `headers`: the peer's header fields (of the request on a server, of the response on a client), names in
    lower case, the first value of each. `peer`: address and port, for logs.

    Owned by its connection; all methods are for the event loop's thread and none blocks.
    """

    __slots__ = (
        "_credit", "_handler", "_inbox", "_outbox", "_reading", "_wire",
        "closed", "ending", "headers", "local_ended", "peer", "refused", "remote_ended", "stream_id",
    )  # fmt: skip

    def __init__(self, wire: Wire, stream_id: int, headers: Mapping[str, str], peer: str) -> None:
        self.stream_id = stream_id
        self.headers = dict(headers)
        self.peer = peer
        # True after the end of life: stream_lost has been called, or is about to be after our own reset.
        self.closed = False
        # Our half: end() was called; END_STREAM was sent. The peer's half: END_STREAM came and the handler knows.
        self.ending = False
        self.local_ended = False
        self.remote_ended = False
        # A server said no: once that is sent, nobody waits for the rest of the request.
        self.refused = False
        self._wire = wire
        self._handler: StreamHandler = Discard()
        self._outbox = bytearray()
        # While reading is paused: what came meanwhile, None for the end. At most one window.
        self._inbox: deque[tuple[bytes, int] | None] = deque()
        self._reading = True
        # Consumed by the handler and not yet credited to the peer.
        self._credit = 0

    def __repr__(self) -> str:
        state = "closed" if self.closed else "ending" if self.ending else "open"
        return f"<Stream {self.stream_id} {self.peer} {state} buffered={self.buffered_bytes}>"

    @property
    def buffered_bytes(self) -> int:
        """Bytes that `write` accepted and the socket has not taken yet.

        Includes what other streams of the connection have in the socket's queue; nothing bounds it but the
        caller, who sheds or stops when it grows.
        """
        return len(self._outbox) + self._wire.unsent_bytes()

    def write(self, data: bytes) -> None:
        """Send `data` after everything written before; on a closed stream it is dropped.

        The bytes are copied. All that is written in one turn of the event loop leaves together. Raises
        RuntimeError after `end`.
        """
        if self.closed:
            return
        if self.ending:
            raise RuntimeError("write after end")
        self._outbox += data
        self._wire.wake(self)

    def end(self) -> None:
        """Half-close: the peer is told after what was written. Harmless when repeated."""
        if not self.closed and not self.ending:
            self.ending = True
            self._wire.wake(self)

    def reset(self, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        """Give the stream up at once; what was not sent is dropped. `stream_lost` follows."""
        if not self.closed:
            self._wire.reset(self, code)

    def pause_reading(self) -> None:
        """Deliver nothing and return no credit: the peer stops when its window is used up."""
        self._reading = False

    def resume_reading(self) -> None:
        """Deliver what came meanwhile (from within this call), then go on."""
        self._reading = True
        while self._inbox and self._reading and not self.closed:
            item = self._inbox.popleft()
            if item is None:
                self._hand_over_end()
            else:
                self._hand_over(*item)

    # For the connection.

    def attach(self, handler: StreamHandler) -> None:
        """Say who gets what comes."""
        self._handler = handler

    def pending(self) -> int:
        """Return how many bytes wait for a window or the socket."""
        return len(self._outbox)

    def take(self, size: int) -> bytes:
        """Remove and return the next `size` bytes to send."""
        if size >= len(self._outbox):
            data = bytes(self._outbox)
            self._outbox.clear()
            return data
        with memoryview(self._outbox) as view:
            data = bytes(view[:size])
        del self._outbox[:size]
        return data

    def received(self, data: bytes, size: int) -> None:
        """Take DATA; `size` is what it cost the window, padding included (RFC 9113, section 6.1)."""
        if self._reading and not self._inbox:
            self._hand_over(data, size)
        else:
            self._inbox.append((data, size))

    def received_end(self) -> None:
        """Take END_STREAM."""
        if self._reading and not self._inbox:
            self._hand_over_end()
        else:
            self._inbox.append(None)

    def lost(self, reason: str) -> None:
        """End the stream's life; what is not delivered is dropped, and its credit returned."""
        if self.closed:
            return
        self.closed = True
        self.tell_lost(reason)

    def tell_lost(self, reason: str) -> None:
        """Tell the handler of the end, the last thing it hears; once `closed` is set."""
        credit = self._credit + sum(item[1] for item in self._inbox if item is not None)
        self._credit = 0
        self._inbox.clear()
        self._outbox.clear()
        self._wire.credit(self, credit)
        handler, self._handler = self._handler, Discard()
        try:
            handler.stream_lost(reason)
        except Exception as error:
            LOGGER.exception("stream handler failed", peer=self.peer, error=repr(error))

    def _hand_over(self, data: bytes, size: int) -> None:
        try:
            if data:
                self._handler.stream_data(data)
        except Exception as error:
            self._failed(error)
        self._credit += size
        if self._credit >= CREDIT_BYTES and not self.closed:
            credit, self._credit = self._credit, 0
            self._wire.credit(self, credit)

    def _hand_over_end(self) -> None:
        self.remote_ended = True
        try:
            self._handler.stream_ended()
        except Exception as error:
            self._failed(error)
        # Both halves may be over now.
        self._wire.wake(self)

    def _failed(self, error: Exception) -> None:
        LOGGER.exception("stream handler failed", peer=self.peer, error=repr(error))
        self.reset(ErrorCodes.INTERNAL_ERROR)

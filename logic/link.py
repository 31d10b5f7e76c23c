"""One open link to one gateway: a stream of envelopes in each direction."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from h2.errors import ErrorCodes

from logic.delivery import AckLedger, Delivery
from protocol.envelope import Ack, Counts, Envelope, EnvelopeReader, Hello, Submit, Unknown, decode, encode
from protocol.errors import RemoteProtocolError
from runtime.http2 import Stream
from runtime.logs import get_logger

_LOG: Final = get_logger("logic.link")


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """`queue_bytes`: what may wait for a gateway that does not read. `patience_s`: see AckLedger."""

    queue_bytes: int = 8 * 1024 * 1024
    patience_s: float = 1.0


@dataclass(frozen=True, slots=True)
class LinkEvents:
    """Who is told what comes up. Called in the event loop; must be quick.

    `up` is called when the gateway has introduced itself, `lost` once for each link that was up; its second argument
    tells whether the gateway ended the link on purpose.
    """

    up: Callable[["Link"], None]
    counts: Callable[["Link", Counts], None]
    submit: Callable[["Link", Submit], None]
    lost: Callable[["Link", bool], None]


class Link:
    """The handler of the stream. Construct, send, receive, close.

    `name` and `instance` are the gateway's, from its Hello; 0 and the name it was dialled by until then.
    """

    def __init__(self, stream: Stream, name: str, hello: Hello, limits: LinkLimits, events: LinkEvents) -> None:
        self.name = name
        self.instance = 0
        self.refused = 0
        self.closed: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._stream = stream
        self._limits = limits
        self._events = events
        self._reader = EnvelopeReader()
        self._ledger = AckLedger(limits.patience_s)
        self._clean = False
        self._ended = False
        self._clock = asyncio.get_running_loop().time
        stream.write(encode(hello))

    def __repr__(self) -> str:
        state = "closed" if self.closed.done() else "up" if self.instance else "open"
        return f"<Link {self.name} {state} {self._ledger!r} queued={self.queued_bytes}>"

    @property
    def up(self) -> bool:
        """True from the gateway's Hello to the loss of the link."""
        return self.instance != 0 and not self.closed.done()

    @property
    def queued_bytes(self) -> int:
        """What the gateway has not taken off us."""
        return 0 if self.closed.done() else self._stream.buffered_bytes

    # Sending.

    def push(self, data: bytes, envelopes: int, delivery: Delivery) -> bool:
        """Send push envelopes and add this link to the delivery; False when the gateway is too far behind for them.

        What is refused here is not sent later: it would arrive after its time. The other path may bring it.
        """
        if self._ended:
            return False
        if self.queued_bytes + len(data) > self._limits.queue_bytes:
            self.refused += envelopes
            return False
        self._ledger.record(envelopes, delivery, self._clock())
        self._stream.write(data)
        return True

    def send(self, envelope: Envelope) -> bool:
        """Send an envelope that is no push; False when the link is gone or the gateway too far behind."""
        if self.closed.done() or self._ended or self.queued_bytes > self._limits.queue_bytes:
            return False
        self._stream.write(encode(envelope))
        return True

    # Receiving.

    def stream_data(self, data: bytes) -> None:
        """Take what the gateway sent; a gateway that breaks the protocol loses the link."""
        try:
            for raw in self._reader.feed(data):
                self._take(decode(raw))
        except RemoteProtocolError as error:
            _LOG.warning("gateway broke the protocol", gateway=self.name, peer=self._stream.peer, reason=str(error))
            self._stream.reset(ErrorCodes.PROTOCOL_ERROR)

    def stream_ended(self) -> None:
        """Answer the gateway's farewell with ours."""
        self._clean = True
        self.end()

    def stream_lost(self, reason: str) -> None:
        """Settle what is owed and tell everybody."""
        was_up = self.up
        self._ledger.abandon()
        if not self.closed.done():
            self.closed.set_result(reason)
        if was_up:
            self._events.lost(self, self._clean)

    def _take(self, envelope: Envelope) -> None:
        match envelope:
            case Hello(instance=instance, name=name):
                self._greeted(instance, name)
            case Unknown():
                pass
            case _ if not self.instance:
                raise RemoteProtocolError(f"{type(envelope).__name__} came before Hello")
            case Ack(received=received):
                self._ledger.acknowledge(received)
            case Counts():
                self._events.counts(self, envelope)
            case Submit():
                self._events.submit(self, envelope)
            case _:
                raise RemoteProtocolError(f"{type(envelope).__name__} does not travel upwards")

    def _greeted(self, instance: int, name: str) -> None:
        if self.instance or not instance:
            raise RemoteProtocolError("Hello came twice, or without an instance")
        self.instance, self.name = instance, name or self.name
        self._events.up(self)

    # Closing.

    def end(self) -> None:
        """Say farewell after what was sent; `closed` follows when the gateway has answered."""
        self._ended = True
        self._stream.end()

    def abort(self) -> None:
        """Close at once."""
        self._stream.reset()

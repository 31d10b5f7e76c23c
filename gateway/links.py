"""The gateway's end of the links: one HTTP/2 stream from each logic, envelopes down it, acknowledgements up."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from h2.errors import ErrorCodes

from gateway.hub import Hub
from gateway.metrics import Counters
from gateway.presence import Presence
from gateway.upstream import Upstream
from protocol.envelope import (
    Ack,
    Broadcast,
    Counts,
    Envelope,
    EnvelopeReader,
    Hello,
    RoomPush,
    Submit,
    SubmitResult,
    Totals,
    UserPush,
    decode,
    encode,
)
from protocol.errors import RemoteProtocolError
from runtime.http2.stream import Refusal, Stream
from runtime.logs import get_logger

LINK_PATH: Final = "/v1/link"


class PushTaker:
    """Takes pushes from whichever path brings them and hands them to the hub."""

    def __init__(self, hub: Hub, counters: Counters) -> None:
        self._hub = hub
        self._counters = counters

    def take(self, envelope: Envelope, path: str) -> bool:
        """Deliver the envelope if it is a push; False when it is something else."""
        if isinstance(envelope, RoomPush):
            self._hub.push_to_room(envelope)
        elif isinstance(envelope, Broadcast):
            self._hub.push_to_all(envelope)
        elif isinstance(envelope, UserPush):
            self._hub.push_to_user(envelope)
        else:
            return False
        self._counters.count(self._counters.pushes_received, path)
        return True


@dataclass(frozen=True, slots=True)
class LinkContext:
    """What every link of a gateway works with. `on_change` hears how many links there are."""

    me: Hello
    token: str
    taker: PushTaker
    upstream: Upstream
    presence: Presence
    on_change: Callable[[int], None]


class Links:
    """Accepts links and knows those that are alive."""

    def __init__(self, context: LinkContext) -> None:
        self._context = context
        self._token = context.token.encode()
        self._alive: set[Link] = set()

    def accept(self, stream: Stream) -> "Link | Refusal":
        """Let a logic in that knows the path and the token (compared in constant time)."""
        if stream.headers.get(":path") != LINK_PATH:
            return Refusal(404, f"the link is at {LINK_PATH}")
        scheme, _, token = stream.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(token.strip().encode(), self._token):
            return Refusal(401, "authorization: the link token is missing or wrong")
        link = Link(stream, self._context, self._ended)
        self._alive.add(link)
        self._context.on_change(len(self._alive))
        return link

    def _ended(self, link: "Link") -> None:
        self._alive.discard(link)
        self._context.upstream.remove_link(link)
        self._context.presence.remove_link(link)
        self._context.on_change(len(self._alive))

    def describe(self) -> list[dict[str, object]]:
        """Return the links for /stats."""
        return [link.describe() for link in self._alive]


class Link:
    """One logic's stream. Counts the pushes it took and says so after every chunk of them."""

    def __init__(self, stream: Stream, context: LinkContext, ended: Callable[["Link"], None]) -> None:
        self._stream = stream
        self._context = context
        self._ended = ended
        self._reader = EnvelopeReader()
        self._received = 0
        self._peer: Hello | None = None
        self._log = get_logger("link").bind(peer=stream.peer)
        stream.write(encode(context.me))

    def __repr__(self) -> str:
        return f"<Link peer={self._peer} received={self._received}>"

    @property
    def instance(self) -> int:
        """The logic's instance number; 0 before it has said hello."""
        return self._peer.instance if self._peer else 0

    def describe(self) -> dict[str, object]:
        """Return what /stats shows."""
        name = self._peer.name if self._peer else ""
        return {"logic": name, "received": self._received, "queued_bytes": self._stream.buffered_bytes}

    def stream_data(self, data: bytes) -> None:
        """Take what came down; acknowledge the pushes in it."""
        before = self._received
        try:
            for raw in self._reader.feed(data):
                self._take(decode(raw))
        except RemoteProtocolError as error:
            self._log.error("link broke the protocol", error=str(error))
            self._stream.reset(ErrorCodes.PROTOCOL_ERROR)
            return
        if self._received != before:
            self._stream.write(encode(Ack(self._received)))

    def _take(self, envelope: Envelope) -> None:
        if self._context.taker.take(envelope, "http2"):
            self._received += 1
        elif isinstance(envelope, SubmitResult):
            self._context.upstream.resolve(envelope)
        elif isinstance(envelope, Totals):
            self._context.presence.totals_received(envelope)
        elif isinstance(envelope, Hello) and self._peer is None:
            self._peer = envelope
            self._log.info("link open", logic=envelope.name)
            self._context.upstream.add_link(self)
            self._context.presence.add_link(self)

    def stream_ended(self) -> None:
        """The logic leaves: so does this end."""
        self._stream.end()

    def stream_lost(self, reason: str) -> None:
        """Hand what was under way to the other links."""
        self._log.info("link lost", logic=self._peer.name if self._peer else None, reason=reason)
        self._ended(self)

    def send_submit(self, submit: Submit) -> None:
        """Send a viewer's message up."""
        self._stream.write(encode(submit))

    def send_counts(self, counts: Counts) -> None:
        """Send counts up."""
        self._stream.write(encode(counts))

"""A small gateway for tests: a real HTTP/2 server that speaks the link's envelopes and remembers what it got."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from k8s.peers import Peer
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
from runtime.http2 import Http2Server, Refusal, Stream

TOKEN = "link-token-of-the-tests"
PATIENCE_S = 10.0
PUSHES = (RoomPush, Broadcast, UserPush)


class PeerLink:
    """The gateway's end of one link."""

    def __init__(self, gateway: "GatewayPeer", stream: Stream) -> None:
        self.stream = stream
        self.taken = 0
        self.lost = ""
        self._gateway = gateway
        self._reader = EnvelopeReader()
        stream.write(encode(gateway.hello))

    def __repr__(self) -> str:
        return f"<PeerLink taken={self.taken} lost={self.lost!r}>"

    def stream_data(self, data: bytes) -> None:
        gateway, before = self._gateway, self.taken
        for raw in self._reader.feed(data):
            gateway.raw.append(raw)
            envelope = decode(raw)
            gateway.envelopes.append(envelope)
            self.taken += isinstance(envelope, PUSHES)
        if self.taken != before and gateway.acknowledges:
            self.acknowledge()
        gateway.wake()

    def stream_ended(self) -> None:
        self._gateway.farewells += 1
        self.stream.end()

    def stream_lost(self, reason: str) -> None:
        self.lost = reason
        self._gateway.links.remove(self)
        self._gateway.wake()

    def acknowledge(self) -> None:
        """Say how many pushes were taken."""
        self.send(Ack(self.taken))

    def send(self, envelope: Envelope) -> None:
        """Send anything up."""
        self.stream.write(encode(envelope))


@dataclass
class GatewayPeer:
    """Collects every envelope of every link. `acknowledges` may be turned off; `refuses` answers dials with 503."""

    name: str = "gateway"
    instance: int = 7
    acknowledges: bool = True
    refuses: bool = False
    envelopes: list[Envelope] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    links: list[PeerLink] = field(default_factory=list)
    accepted: int = 0
    farewells: int = 0
    port: int = 0

    def __post_init__(self) -> None:
        self._server = Http2Server("127.0.0.1", 0, accept=self._accept)
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<GatewayPeer {self.name} links={len(self.links)} envelopes={len(self.envelopes)}>"

    @property
    def hello(self) -> Hello:
        """What it says about itself."""
        return Hello(self.instance, self.name)

    @property
    def peer(self) -> Peer:
        """What discovery says about it."""
        return Peer(self.name, f"127.0.0.1:{self.port}")

    @property
    def link(self) -> PeerLink:
        """The only link."""
        (link,) = self.links
        return link

    async def start(self) -> "GatewayPeer":
        """Listen: on a free port the first time, on the same one after a stop."""
        if self.port:
            self._server = Http2Server("127.0.0.1", self.port, accept=self._accept)
        await self._server.start()
        self.port = self._server.port
        return self

    async def stop(self) -> None:
        """Close everything, as a crash would."""
        await self._server.stop()

    def pushes(self) -> list[RoomPush]:
        """Return the room pushes, as they came."""
        return [envelope for envelope in self.envelopes if isinstance(envelope, RoomPush)]

    def pushes_raw(self) -> list[bytes]:
        """Return the bytes of all pushes, as they came."""
        return [raw for raw, envelope in zip(self.raw, self.envelopes, strict=True) if isinstance(envelope, PUSHES)]

    def totals(self) -> list[Totals]:
        """Return the totals, as they came."""
        return [envelope for envelope in self.envelopes if isinstance(envelope, Totals)]

    def results(self) -> list[SubmitResult]:
        """Return the answers to submissions, as they came."""
        return [envelope for envelope in self.envelopes if isinstance(envelope, SubmitResult)]

    def submit(self, ref: int, room: str, identity: bytes, data: bytes) -> None:
        """Send a viewer's message up."""
        self.link.send(Submit(ref, room, identity, data))

    def count(self, rooms: dict[str, int], *, snapshot: bool = False, wants_totals: bool = False) -> None:
        """Report viewers; as many connections as the given rooms have."""
        self.link.send(Counts(snapshot, wants_totals, sum(rooms.values()), tuple(rooms.items())))

    async def until(self, condition: Callable[["GatewayPeer"], object]) -> None:
        """Wait until the condition holds; fail after ten seconds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def linked(self, links: int = 1) -> None:
        """Wait until so many logics are linked and have said hello."""
        await self.until(lambda peer: sum(isinstance(e, Hello) for e in peer.envelopes) >= links and peer.links)

    def wake(self) -> None:
        """Look at conditions again."""
        self._changed.set()

    def _accept(self, stream: Stream) -> PeerLink | Refusal:
        if stream.headers.get("authorization") != f"Bearer {TOKEN}" or stream.headers.get(":path") != "/v1/link":
            return Refusal(401, "wrong token")
        if self.refuses:
            return Refusal(503, "not now")
        link = PeerLink(self, stream)
        self.links.append(link)
        self.accepted += 1
        self.wake()
        return link

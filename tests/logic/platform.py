"""A logic without its HTTP: publisher, links and Redis, wired for tests."""

import secrets
from collections.abc import Sequence

from prometheus_client import CollectorRegistry

from k8s.peers import peer_set
from logic.counts import RoomCounts
from logic.link import LinkEvents, LinkLimits
from logic.links import LinkOptions, Links
from logic.metrics import LogicMetrics
from logic.model import Idempotency, RoomPushRequest
from logic.presence import Presence
from logic.publisher import Publisher, PublisherOptions
from protocol.envelope import Hello
from protocol.message import Message
from protocol.names import Room
from runtime.lifecycle import Background
from runtime.logs import get_logger
from runtime.redis import connect
from tests.logic.gateway_peer import TOKEN, GatewayPeer


class Platform:
    """Starts with the links to the given gateways up."""

    def __init__(
        self,
        url: str,
        *,
        over_redis: bool = True,
        over_links: bool = True,
        ack_timeout_s: float = 5.0,
        queue_bytes: int = 8 * 1024 * 1024,
        pending_messages: int = 100_000,
        grace_s: float = 0.3,
        token: str = TOKEN,
    ) -> None:
        instance = secrets.randbits(63) | 1
        self.client = connect(url, client_name="test")
        self.background = Background(get_logger("test"))
        self.metrics = LogicMetrics(CollectorRegistry())
        self.counts = RoomCounts()
        self.presence = Presence(self.counts, tell_every_s=0.05, grace_s=grace_s)
        limits = LinkLimits(queue_bytes, patience_s=ack_timeout_s)
        events = LinkEvents(self.presence.up, self.presence.counts, lambda link, submit: None, self.presence.lost)
        self.links = Links(LinkOptions(token, Hello(instance, "logic"), limits), events, self.background)
        options = PublisherOptions(
            instance,
            over_redis=over_redis,
            over_links=over_links,
            ack_timeout_s=ack_timeout_s,
            pending_messages=pending_messages,
        )
        self.publisher = Publisher(self.client, self.links, options, self.metrics)

    def __repr__(self) -> str:
        return f"<Platform {self.publisher!r}>"

    async def start(self, *gateways: GatewayPeer) -> None:
        """Begin, and wait for the links."""
        self.publisher.start(self.background)
        await self.follow(*gateways)

    async def follow(self, *gateways: GatewayPeer) -> None:
        """Say which gateways there are, and wait until each has a link more."""
        before = [sum(isinstance(e, Hello) for e in gateway.envelopes) for gateway in gateways]
        linked = {dialler.peer for dialler in self.links.diallers()}
        self.links.follow(peer_set(gateway.peer for gateway in gateways))
        for gateway, links in zip(gateways, before, strict=True):
            if gateway.peer not in linked:
                await gateway.linked(links + 1)

    async def stop(self) -> None:
        """End everything."""
        await self.publisher.stop()
        await self.links.stop(1.0)
        self.presence.stop()
        await self.background.cancel()
        assert not self.background.failed.is_set(), "a background task died"
        await self.client.aclose()


def messages(*texts: str) -> Sequence[Message]:
    """Return messages with these JSON strings as data."""
    return [Message(f'"{text}"'.encode()) for text in texts]


def room_push(room: str, *texts: str, key: str | None = None, fingerprint: str = "f") -> RoomPushRequest:
    """Return a push of these texts to a room."""
    idempotency = None if key is None else Idempotency("shop", key, fingerprint)
    return RoomPushRequest(Room(room), messages(*texts), idempotency)

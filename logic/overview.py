"""What the platform looks like from this logic: viewers and gateways by the links, a room's position by Redis."""

from collections.abc import Awaitable
from typing import cast

from redis.asyncio import Redis

from logic.counts import RoomCounts
from logic.links import Dialler, Links
from logic.metrics import LogicMetrics
from logic.model import GatewayInfo, RoomInfo, Unavailable
from protocol.names import Room
from protocol.partitions import room_key
from runtime.redis import RedisError
from runtime.redis.errors import redis_errors


class PlatformOverview:
    """Implements `logic.model.Overview`."""

    def __init__(self, client: Redis, counts: RoomCounts, links: Links, metrics: LogicMetrics) -> None:
        self._client = client
        self._counts = counts
        self._links = links
        self._metrics = metrics

    def __repr__(self) -> str:
        return f"<PlatformOverview {self._counts!r} {self._links!r}>"

    def top_rooms(self, limit: int) -> list[RoomInfo]:
        """See `Overview.top_rooms`."""
        return [RoomInfo(room, online) for room, online in self._counts.top(limit)]

    async def room(self, room: Room) -> RoomInfo:
        """See `Overview.room`."""
        try:
            with redis_errors():
                answer = self._client.hmget(room_key(room), ["epoch", "seq"])
                epoch, seq = await cast("Awaitable[list[bytes | None]]", answer)
        except RedisError as error:
            raise Unavailable(f"Redis did not answer: {error}") from error
        return RoomInfo(room, self._counts.total(room), seq=int(seq or 0), epoch=int(epoch or 0))

    def gateways(self) -> list[GatewayInfo]:
        """See `Overview.gateways`."""
        return sorted(map(self._gateway, self._links.diallers()), key=lambda info: (info.name, info.address))

    def stats(self) -> dict[str, object]:
        """See `Overview.stats`."""
        return self._metrics.snapshot()

    def _gateway(self, dialler: Dialler) -> GatewayInfo:
        link = dialler.link
        up = link is not None and link.up
        name = link.name if link is not None and up else dialler.peer.name
        return GatewayInfo(
            name=name,
            address=dialler.peer.address,
            connected=up,
            connections=self._counts.connections_of(name),
            rooms=len(self._counts.rooms_of(name)),
            queued_bytes=0 if link is None else link.queued_bytes,
        )

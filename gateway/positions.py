"""Where a room stands in Redis when its first viewer joins here. Reads of one moment share one round trip."""

import asyncio
from collections.abc import Callable
from typing import Final

from redis.asyncio import Redis

from gateway.hub import Position
from protocol.partitions import room_key
from runtime.lifecycle import Background
from runtime.logs import get_logger

READ_TIMEOUT_S: Final = 1.0
"""A join waits no longer than this for Redis; then the room starts with the first push that comes."""


class PositionReader:
    """Reads the positions of rooms, many at a time."""

    def __init__(self, redis: "Redis", background: Background) -> None:
        self._redis = redis
        self._background = background
        self._wanted: list[tuple[str, Callable[[Position], None]]] = []
        self._log = get_logger("positions")

    def read(self, room: str, answer: Callable[[Position], None]) -> None:
        """Read one room's position; `answer` is called once, with None when Redis does not say in time."""
        if not self._wanted:
            asyncio.get_running_loop().call_soon(self._start)
        self._wanted.append((room, answer))

    def _start(self) -> None:
        wanted, self._wanted = self._wanted, []
        self._background.spawn(self._read(wanted), "read positions")

    async def _read(self, wanted: list[tuple[str, Callable[[Position], None]]]) -> None:
        positions: list[Position] = [None] * len(wanted)
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                positions = await self._query([room for room, _ in wanted])
        except Exception as error:
            # Whatever is wrong with Redis, viewers may join: the live stream comes over the links as well.
            self._log.warning("cannot read room positions", rooms=len(wanted), error=repr(error))
        for (_, answer), position in zip(wanted, positions, strict=True):
            answer(position)

    async def _query(self, rooms: list[str]) -> list[Position]:
        pipeline = self._redis.pipeline(transaction=False)
        for room in rooms:
            pipeline.hmget(room_key(room), ["epoch", "seq"])
        rows = await pipeline.execute()
        return [(int(epoch or 0), int(seq or 0)) for epoch, seq in rows]

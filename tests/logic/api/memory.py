"""A publisher and an overview in memory: real implementations of the seam of `logic.model`, without Redis."""

import asyncio
from collections import deque
from dataclasses import replace

from logic.model import (
    DirectPushRequest,
    GatewayInfo,
    IdempotencyConflict,
    Reach,
    Receipt,
    RoomInfo,
    RoomPushRequest,
    Unavailable,
)
from protocol.names import Room

EPOCH = 1_700_000_000_000_000
REACH = Reach(reached=2, failed=0)
Push = RoomPushRequest | DirectPushRequest


class MemoryPublishing:
    """Assigns sequences, keeps idempotency keys, and fails when it is told to.

    Receipts come one turn of the loop later, those of one moment together, as from a pipeline. While `hold` is set
    nothing is answered until `release`.
    """

    def __init__(self) -> None:
        self.pushes: list[Push] = []
        self.failure: Exception | None = None
        self.hold = False
        self._sequences: dict[str, int] = {}
        self._answered: dict[tuple[str, str], tuple[str, Receipt]] = {}
        self._waiting: deque[tuple[asyncio.Future[Receipt], Push]] = deque()
        self._scheduled = False

    def submit(self, push: Push) -> asyncio.Future[Receipt]:
        """Take a push; its receipt comes in the next turn of the loop."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[Receipt] = loop.create_future()
        self._waiting.append((outcome, push))
        if not self.hold and not self._scheduled:
            self._scheduled = True
            loop.call_soon(self._answer)
        return outcome

    async def publish(self, push: Push) -> Receipt:
        """Take a push and wait for its receipt."""
        return await self.submit(push)

    @property
    def waiting(self) -> int:
        """Pushes that are taken and not answered."""
        return len(self._waiting)

    def release(self) -> None:
        """Answer what is waiting, and everything from now on."""
        self.hold = False
        self._answer()

    def _answer(self) -> None:
        self._scheduled = False
        while self._waiting:
            outcome, push = self._waiting.popleft()
            if outcome.done():
                continue
            try:
                outcome.set_result(self._publish(push))
            except Exception as error:
                outcome.set_exception(error)

    def _publish(self, push: Push) -> Receipt:
        if self.failure is not None:
            raise self.failure
        key = push.idempotency
        if key is not None and (known := self._answered.get((key.owner, key.key))) is not None:
            fingerprint, receipt = known
            if fingerprint != key.fingerprint:
                raise IdempotencyConflict("the key was used for another push")
            return replace(receipt, replayed=True)
        self.pushes.append(push)
        receipt = self._receipt(push)
        if key is not None:
            self._answered[key.owner, key.key] = (key.fingerprint, receipt)
        return receipt

    def _receipt(self, push: Push) -> Receipt:
        count = len(push.messages)
        if isinstance(push, DirectPushRequest):
            return Receipt(count, REACH)
        last = self._sequences[push.room] = self._sequences.get(push.room, 0) + count
        return Receipt(count, REACH, last - count + 1, last, EPOCH)


class MemoryOverview:
    """Three rooms, one gateway; fails when it is told to."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self._rooms = {"42": RoomInfo("42", 30, 7, EPOCH), "7": RoomInfo("7", 20), "a/b": RoomInfo("a/b", 10)}

    def top_rooms(self, limit: int) -> list[RoomInfo]:
        """Return the busiest rooms."""
        return list(self._rooms.values())[:limit]

    async def room(self, room: Room) -> RoomInfo:
        """Return one room."""
        if self.failure is not None:
            raise self.failure
        return self._rooms.get(room, RoomInfo(room, 0))

    def gateways(self) -> list[GatewayInfo]:
        """Return the gateway."""
        return [GatewayInfo("gw-1", "127.0.0.1:8001", True, 60, 3, 0)]

    def stats(self) -> dict[str, object]:
        """Return a counter."""
        return {"pushes": 12}


def unavailable() -> Unavailable:
    """Return the error of a publisher that has lost everything."""
    return Unavailable("no gateway and no Redis could be reached", retry_after_s=3)

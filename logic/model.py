"""What the push API and the publisher say to each other."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from protocol.errors import PushError
from protocol.message import Message
from protocol.names import Room, UserId


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Makes a retry safe: the same owner, key and target publish once within `life_s` seconds.

    `fingerprint` is a digest of what is pushed; the same key with another fingerprint is a conflict. The life is the
    five minutes promised to publishers, or less where the retry comes from a program of ours and soon: every key
    takes about 150 bytes of Redis while it lives.
    """

    owner: str
    key: str
    fingerprint: str
    life_s: int = 300


@dataclass(frozen=True, slots=True)
class RoomPushRequest:
    """Messages for every viewer of a room."""

    room: Room
    messages: Sequence[Message]
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class DirectPushRequest:
    """Messages that belong to no room: for every connection of `user`, or for every connection when it is None."""

    user: UserId | None
    messages: Sequence[Message]
    idempotency: Idempotency | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """How many gateways took a push, and how many that should have did not say so in time."""

    reached: int
    failed: int


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a push. Sequences and epoch are 0 for a direct push, which has none."""

    accepted: int
    reach: Reach
    first_seq: int = 0
    last_seq: int = 0
    epoch: int = 0
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class RoomInfo:
    """A room as the whole platform sees it; `seq` and `epoch` are 0 when nothing was pushed yet."""

    room: str
    online: int
    seq: int = 0
    epoch: int = 0


@dataclass(frozen=True, slots=True)
class GatewayInfo:
    """A gateway as this logic sees it over its link."""

    name: str
    address: str
    connected: bool
    connections: int
    rooms: int
    queued_bytes: int


class Unavailable(PushError):
    """Nothing could take the push now; it may be sent again after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 1) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class IdempotencyConflict(PushError):
    """The idempotency key was used for a push that was not the same."""


class Publishing(Protocol):
    """Takes pushes. Implemented by `logic.publisher.Publisher`."""

    def submit(self, push: RoomPushRequest | DirectPushRequest) -> asyncio.Future[Receipt]:
        """Take the push and return at once; the future gives the Receipt, or Unavailable or IdempotencyConflict.

        Neither a coroutine nor a task: bulk publishers call it tens of thousands of times a second. It raises nothing
        itself: what goes wrong is in the future. Pushes of the same moment share one round trip. Submissions to one
        room keep the order of the calls. Cancelling the future does not take the push back.
        """

    async def publish(self, push: RoomPushRequest | DirectPushRequest) -> Receipt:
        """Submit the push and wait for what happened; raise Unavailable or IdempotencyConflict.

        May be called many times concurrently. Calls made one after the other from one task for one room keep their
        order, awaited or not.
        """


class Overview(Protocol):
    """What the platform looks like. Implemented by `logic.overview.PlatformOverview`."""

    def top_rooms(self, limit: int) -> list[RoomInfo]:
        """Return the rooms with most viewers, most first (sequences not filled in)."""

    async def room(self, room: Room) -> RoomInfo:
        """Return one room, its position read from Redis; raise Unavailable when Redis does not answer."""

    def gateways(self) -> list[GatewayInfo]:
        """Return every gateway that is known, by name."""

    def stats(self) -> dict[str, object]:
        """Return the counters of this logic, as its /stats shows them."""

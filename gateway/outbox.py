"""What waits for a viewer that reads too slowly. Pure: bytes in, bytes out, never more than its limit."""

from collections import deque
from dataclasses import dataclass

from protocol.limits import OUTBOX_MAX_BYTES


@dataclass(frozen=True, slots=True)
class Frame:
    """One encoded batch, the same object for every viewer of the room.

    `number` grows by one with every frame of the room on this gateway; `seq` and `epoch` are the position after it.
    `count` is the messages in it; a frame that is not `lossy` carries at least one reliable message.
    """

    data: bytes
    room: str | None
    count: int
    lossy: bool
    number: int = 0
    seq: int = 0
    epoch: int = 0


class Outbox:
    """A byte-bounded queue that drops the oldest lossy batches first.

    1. The rest of a partly written frame comes first and is never dropped: the peer is in the middle of it.
    2. When a frame does not fit, lossy frames go, oldest first, until it does; each is counted by room.
    3. When it still does not fit, the frame itself is dropped if it is lossy; otherwise the viewer cannot be kept.

    `delivered` counts messages taken out, `shed` those dropped by room since the viewer was last told. `progress_at`
    is when the socket last took something; the caller keeps it.
    """

    __slots__ = ("_items", "_limit", "_rest", "delivered", "progress_at", "shed", "size")

    def __init__(self, limit: int = OUTBOX_MAX_BYTES, now: float = 0.0) -> None:
        self._items: deque[Frame | bytes] = deque()
        self._rest: tuple[bytes, int] | None = None
        self._limit = limit
        self.size = 0
        self.delivered = 0
        self.progress_at = now
        self.shed: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Outbox items={len(self._items)} bytes={self.size}/{self._limit} shed={sum(self.shed.values())}>"

    @property
    def waiting(self) -> int:
        """How many messages are in it."""
        rest = self._rest[1] if self._rest else 0
        return rest + sum(item.count for item in self._items if isinstance(item, Frame))

    def begin_with_rest(self, rest: bytes, count: int) -> None:
        """Put the unwritten rest of a frame of `count` messages ahead of everything, whatever the limit."""
        self._rest = (rest, count)
        self.size += len(rest)

    def put(self, item: Frame | bytes) -> bool:
        """Queue a batch, or bytes that must not be lost; False when the viewer has to be disconnected instead."""
        needed = len(item) if isinstance(item, bytes) else len(item.data)
        if self.size + needed > self._limit:
            self._drop_until(self._limit - needed)
        if self.size + needed > self._limit:
            if isinstance(item, bytes) or not item.lossy:
                return False
            self._count_shed(item)
            return True
        self._items.append(item)
        self.size += needed
        return True

    def put_last(self, data: bytes) -> int:
        """Forget all but the rest of a partly written frame, and queue a last word. Returns the messages forgotten."""
        forgotten = self.waiting - (self._rest[1] if self._rest else 0)
        self._items = deque((data,))
        self.size = len(data) + (len(self._rest[0]) if self._rest else 0)
        return forgotten

    def take(self) -> bytes | None:
        """Remove and return the next bytes to write, or None when nothing waits."""
        if self._rest is not None:
            (data, count), self._rest = self._rest, None
        elif self._items:
            item = self._items.popleft()
            data, count = (item, 0) if isinstance(item, bytes) else (item.data, item.count)
        else:
            return None
        self.size -= len(data)
        self.delivered += count
        return data

    def take_shed(self) -> dict[str, int]:
        """Return how many messages were dropped by room since the last call."""
        shed, self.shed = self.shed, {}
        return shed

    def _drop_until(self, size: int) -> None:
        kept: deque[Frame | bytes] = deque()
        while self._items:
            item = self._items.popleft()
            if self.size > size and isinstance(item, Frame) and item.lossy:
                self.size -= len(item.data)
                self._count_shed(item)
            else:
                kept.append(item)
        self._items = kept

    def _count_shed(self, frame: Frame) -> None:
        room = frame.room or ""
        self.shed[room] = self.shed.get(room, 0) + frame.count

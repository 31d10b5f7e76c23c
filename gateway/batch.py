"""A room's messages between two ticks. Pure: decides what goes into which frame, and what is shed."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocol.limits import FRAME_MAX_BYTES
from protocol.message import Delivery, Message

PENDING_MAX_BYTES: Final = 4 * 1024 * 1024
"""Bytes a room may have waiting while its last frame is still being written; lossy messages beyond are shed."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that go out as one frame. `seq` is the sequence of the last one."""

    items: list[bytes]
    seq: int
    epoch: int
    lossy: bool


class PendingBatch:
    """Collects accepted messages in order; `take` empties it into as few batches as the frame limit allows."""

    __slots__ = ("_entries", "size")

    def __init__(self) -> None:
        self._entries: list[tuple[bytes, int, int, bool]] = []
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, messages: Iterable[Message], first_seq: int, epoch: int) -> int:
        """Append messages with consecutive sequences; return how many were shed because the room is overloaded."""
        shed = 0
        for seq, message in enumerate(messages, first_seq):
            reliable = message.delivery is Delivery.RELIABLE
            if self.size > PENDING_MAX_BYTES and not reliable:
                shed += 1
                continue
            self._entries.append((message.data, seq, epoch, reliable))
            self.size += len(message.data) + 1
        return shed

    def take(self) -> list[Batch]:
        """Return everything as batches, each within the frame limit and of one epoch."""
        entries, self._entries, self.size = self._entries, [], 0
        batches: list[Batch] = []
        start = size = 0
        for index, (data, _, epoch, _) in enumerate(entries):
            if index > start and (size + len(data) > FRAME_MAX_BYTES or epoch != entries[start][2]):
                batches.append(_batch(entries[start:index]))
                start, size = index, 0
            size += len(data) + 1
        if entries:
            batches.append(_batch(entries[start:]))
        return batches


def _batch(entries: list[tuple[bytes, int, int, bool]]) -> Batch:
    _, seq, epoch, _ = entries[-1]
    return Batch([entry[0] for entry in entries], seq, epoch, not any(entry[3] for entry in entries))

"""The message model: what publishers push and viewers receive."""

from enum import IntEnum
from typing import Final

import msgspec


class Delivery(IntEnum):
    """How hard the platform tries: lossy messages may be shed, counted; reliable ones never are."""

    LOSSY = 0
    RELIABLE = 1


class Priority(IntEnum):
    """Which lossy messages go first when some must be shed: the lowest."""

    LOW = 0
    NORMAL = 1
    HIGH = 2


DELIVERIES: Final = {"lossy": Delivery.LOSSY, "reliable": Delivery.RELIABLE}
PRIORITIES: Final = {"low": Priority.LOW, "normal": Priority.NORMAL, "high": Priority.HIGH}


class Message(msgspec.Struct, frozen=True, gc=False):
    """One message: `data` is the publisher's own JSON text in UTF-8, never re-encoded."""

    data: bytes
    delivery: Delivery = Delivery.LOSSY
    priority: Priority = Priority.NORMAL


def message_id(epoch: int, seq: int) -> str:
    """Return the id of a room's message: unique over rooms' lifetimes, the same on every gateway."""
    return f"{epoch:x}-{seq:x}"

"""Turns the pushes of a moment into as few script calls as possible. Pure.

Pushes of one room that follow one another become one call, and one envelope: the sequence range is handed out
afterwards. A push with an idempotency key stays alone, because its outcome is its own, and ends the run of its room.
"""

import asyncio
import hashlib
from collections.abc import Iterable
from typing import Final

from logic.model import Idempotency, Receipt
from protocol.limits import PUSH_MAX_BYTES, PUSH_MAX_MESSAGES
from protocol.names import Room, UserId
from protocol.partitions import partition_of, tag

CALL_MAX_MESSAGES: Final = PUSH_MAX_MESSAGES
CALL_MAX_BYTES: Final = PUSH_MAX_BYTES
"""One call is never more than one full push: it stays a millisecond of Redis, and its envelope within the limit."""


class Accepted:
    """A push that waits for its turn. `room` is None for a direct push, which is for `user`, or for all when None too.

    `block` is its messages, encoded. `partition` is where it is published, and decides who it queues behind.
    """

    __slots__ = ("block", "count", "future", "idempotency", "partition", "room", "user")

    def __init__(
        self,
        room: Room | None,
        user: UserId | None,
        block: bytes,
        count: int,
        idempotency: Idempotency | None,
        future: "asyncio.Future[Receipt]",
    ) -> None:
        self.room = room
        self.user = user
        self.block = block
        self.count = count
        self.idempotency = idempotency
        self.future = future
        name = room or user
        self.partition = 0 if name is None else partition_of(name)


class Call:
    """One script call: pushes that share it, in order. All for one room, or a single direct push."""

    __slots__ = ("count", "pushes", "size")

    def __init__(self, push: Accepted) -> None:
        self.pushes = [push]
        self.count = push.count
        self.size = len(push.block)

    def __repr__(self) -> str:
        return f"<Call {self.pushes[0].room or 'direct'} pushes={len(self.pushes)} count={self.count}>"

    @property
    def first(self) -> Accepted:
        """The push that says what all have in common."""
        return self.pushes[0]

    def block(self) -> bytes:
        """Return the messages of all pushes, encoded."""
        pushes = self.pushes
        return pushes[0].block if len(pushes) == 1 else b"".join([push.block for push in pushes])

    def take(self, push: Accepted) -> bool:
        """Add a push if it fits, and tell whether it did."""
        if self.count + push.count > CALL_MAX_MESSAGES or self.size + len(push.block) > CALL_MAX_BYTES:
            return False
        self.pushes.append(push)
        self.count += push.count
        self.size += len(push.block)
        return True


def plan(pushes: Iterable[Accepted]) -> list[Call]:
    """Return the calls for these pushes; those of one room are in the order of its pushes."""
    calls: list[Call] = []
    open_calls: dict[str, Call] = {}
    for push in pushes:
        room = push.room
        if room is None or push.idempotency is not None:
            calls.append(Call(push))
            if room is not None:
                open_calls.pop(room, None)
            continue
        call = open_calls.get(room)
        if call is None or not call.take(push):
            call = open_calls[room] = Call(push)
            calls.append(call)
    return calls


def idempotency_key(push: Accepted, idempotency: Idempotency) -> str:
    """Return the key of an idempotency record: `dm:{p07}:idem:<digest>`.

    A digest, because owner, key and target may contain anything, because it is short, and because a publisher's order
    numbers are nobody's business. The same key for another target is another record.
    """
    target = f"room {push.room}" if push.room is not None else "all" if push.user is None else f"user {push.user}"
    # Lengths in front: no two triples may read the same.
    text = f"{len(idempotency.owner)} {len(target)} {idempotency.owner} {target} {idempotency.key}"
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{tag(push.partition)}:idem:{digest}"

"""A room's order on one gateway: which of the copies that arrive on two paths is delivered, and when. Pure.

Both paths carry every push, several logics publish at once, and either path may lose or delay any of them:

1. A push below the next expected sequence is a duplicate (or too late) and is dropped.
2. The next expected push is delivered, followed by those that were held for it.
3. A push above it is held: the other path, or another logic's link, most likely has the missing one on its way.
4. What is still missing `GAP_HOLD_S` after a push behind it came, or when too much is held, is given up, counted, and
   never delivered later: a viewer sees no message in the wrong order, and the room does not stall.
5. An epoch that was not seen before replaces the current one (Redis lost the room's sequence, or the room was idle
   for a day): what is held of the old one is delivered, then the new one starts at 1. An epoch that was replaced is
   stale and dropped: its copies come from the slower path. Clocks are never compared.
6. Should news of a replaced epoch keep coming for `REVIVE_S` and nothing of the current one, the current one was the
   stale one (a very late push of a life of the room that this gateway never saw): the replaced one goes on where it
   stopped.
"""

from typing import Final, NamedTuple

from protocol.envelope import RoomPush

GAP_HOLD_S: Final = 0.2
"""Longer than the two paths ever differ on a healthy network, shorter than a viewer notices."""

REVIVE_S: Final = 1.0
"""Longer than the slower path lags: what comes of a replaced epoch for longer than this is not a late copy."""

HELD_MAX_MESSAGES: Final = 5_000
"""Bounds a room's memory when a path is far behind."""

RETIRED_EPOCHS: Final = 4
"""Replaced epochs that are remembered: more than one only when Redis loses its data twice in a moment."""


class Ready(NamedTuple):
    """A push whose turn has come; its first `skip` messages were delivered before."""

    push: RoomPush
    skip: int


class RoomOrder:
    """The order of one room. `next_seq` 0 means that no position is known: the first push decides."""

    __slots__ = ("_held", "_held_messages", "_retired", "_stale", "duplicates", "epoch", "lost", "next_seq")

    def __init__(self, epoch: int, next_seq: int) -> None:
        self.epoch = epoch
        self.next_seq = next_seq
        self.duplicates = 0
        self.lost = 0
        # By first sequence: a push, and since when it is held.
        self._held: dict[int, tuple[RoomPush, float]] = {}
        self._held_messages = 0
        # Replaced epochs and what would have been their next sequence, newest last.
        self._retired: dict[int, int] = {}
        # The replaced epoch of which news keeps coming, and since when.
        self._stale: tuple[int, float] | None = None

    def __repr__(self) -> str:
        return f"<RoomOrder epoch={self.epoch} next={self.next_seq} held={len(self._held)} lost={self.lost}>"

    @property
    def waiting(self) -> bool:
        """Whether pushes are held for a missing one."""
        return bool(self._held)

    def accept(self, push: RoomPush, now: float) -> list[Ready]:
        """Take one copy of a push; return what is to be delivered now, in order. `now` is monotonic seconds."""
        if push.epoch != self.epoch:
            return self._change_epoch(push, now)
        self._stale = None
        if self.next_seq == 0:
            self.next_seq = push.first_seq
        if push.first_seq + push.count <= self.next_seq:
            self.duplicates += push.count
            return []
        if push.first_seq <= self.next_seq:
            return [self._deliver(push), *self._deliver_held()]
        return self._hold(push, now)

    def expire(self, now: float) -> list[Ready]:
        """Give up on what has been missing for too long; return what was held for it."""
        ready: list[Ready] = []
        while self._held and now - min(since for _, since in self._held.values()) >= GAP_HOLD_S:
            ready += self._skip_gap()
        return ready

    def _change_epoch(self, push: RoomPush, now: float) -> list[Ready]:
        resume_at = self._retired.get(push.epoch)
        if resume_at is not None and not self._is_revived(push, resume_at, now):
            self.duplicates += push.count
            return []
        ready: list[Ready] = []
        while self._held:
            ready += self._skip_gap()
        self._retired.pop(push.epoch, None)
        if self.epoch:
            self._retired[self.epoch] = self.next_seq
            self._retired = dict(list(self._retired.items())[-RETIRED_EPOCHS:])
        # A gateway that knows no position at all takes a new epoch, too, from where it first sees it.
        start = 1 if self.next_seq else 0
        self.epoch, self.next_seq = push.epoch, start if resume_at is None else resume_at
        return ready + self.accept(push, now)

    def _is_revived(self, push: RoomPush, resume_at: int, now: float) -> bool:
        if push.first_seq + push.count <= resume_at:
            return False
        if self._stale is None or self._stale[0] != push.epoch:
            self._stale = push.epoch, now
        return now - self._stale[1] >= REVIVE_S

    def _deliver(self, push: RoomPush) -> Ready:
        skip = self.next_seq - push.first_seq
        self.duplicates += skip
        self.next_seq = push.first_seq + push.count
        return Ready(push, skip)

    def _deliver_held(self) -> list[Ready]:
        ready: list[Ready] = []
        while self._held:
            first = min(self._held)
            if first > self.next_seq:
                break
            push, _ = self._held.pop(first)
            self._held_messages -= push.count
            if first + push.count > self.next_seq:
                ready.append(self._deliver(push))
            else:
                self.duplicates += push.count
        return ready

    def _hold(self, push: RoomPush, now: float) -> list[Ready]:
        if push.first_seq in self._held:
            self.duplicates += push.count
            return []
        self._held[push.first_seq] = push, now
        self._held_messages += push.count
        return self._skip_gap() if self._held_messages > HELD_MAX_MESSAGES else []

    def _skip_gap(self) -> list[Ready]:
        first = min(self._held)
        self.lost += first - self.next_seq
        self.next_seq = first
        return self._deliver_held()

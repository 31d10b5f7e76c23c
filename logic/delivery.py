"""Who has acknowledged what was forwarded. Pure: the clock and the timer are the caller's."""

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from protocol.errors import RemoteProtocolError


class Delivery:
    """One flush on its way over the links: ends when every link that is waited for has answered, or at `expire`.

    1. The publisher makes it and has the links told (`expect`), then says that was all (`sealed`).
    2. Links report `acknowledged` or `lost`.
    3. `on_done` is called once, with the number of links that acknowledged.
    """

    __slots__ = ("_awaited", "_on_done", "_sealed", "acknowledgements", "done")

    def __init__(self, on_done: Callable[[int], None]) -> None:
        self._on_done = on_done
        self._awaited = 0
        self._sealed = False
        self.acknowledgements = 0
        self.done = False

    def __repr__(self) -> str:
        return f"<Delivery awaited={self._awaited} acknowledgements={self.acknowledgements} done={self.done}>"

    def expect(self) -> None:
        """Wait for one link more."""
        self._awaited += 1

    def sealed(self) -> None:
        """Note that no link will be added."""
        self._sealed = True
        self._check()

    def acknowledged(self, awaited: bool) -> None:
        """Note that a link has it; `awaited` is whether `expect` was called for it."""
        self.acknowledgements += 1
        self._awaited -= awaited
        self._check()

    def lost(self, awaited: bool) -> None:
        """Note that a link will never say."""
        self._awaited -= awaited
        self._check()

    def expire(self) -> None:
        """Stop waiting."""
        if not self.done:
            self.done = True
            self._on_done(self.acknowledgements)

    def _check(self) -> None:
        if self._sealed and not self._awaited:
            self.expire()


class _Owed(NamedTuple):
    """The acknowledgement that reaches `position` settles this delivery."""

    position: int
    sent_at: float
    delivery: Delivery
    awaited: bool


class AckLedger:
    """What one link has sent and its gateway has acknowledged: cumulative counts of push envelopes.

    A gateway that already owes an acknowledgement for longer than `patience_s` is not waited for: one frozen gateway
    delays the answers of one flush, not of every flush after it.
    """

    __slots__ = ("_owed", "_patience_s", "acknowledged", "sent")

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._owed: deque[_Owed] = deque()
        self.sent = 0
        self.acknowledged = 0

    def __repr__(self) -> str:
        return f"<AckLedger sent={self.sent} acknowledged={self.acknowledged} owed={len(self._owed)}>"

    def late(self, now: float) -> bool:
        """Tell whether the oldest acknowledgement is overdue."""
        return bool(self._owed) and now - self._owed[0].sent_at > self._patience_s

    def record(self, envelopes: int, delivery: Delivery, now: float) -> None:
        """Note that `envelopes` of a delivery were sent at `now` (seconds of any steady clock)."""
        awaited = not self.late(now)
        if awaited:
            delivery.expect()
        self.sent += envelopes
        self._owed.append(_Owed(self.sent, now, delivery, awaited))

    def acknowledge(self, received: int) -> None:
        """Take the gateway's count; raise RemoteProtocolError when it shrinks or exceeds what was sent."""
        if not self.acknowledged <= received <= self.sent:
            raise RemoteProtocolError(
                f"acknowledgement of {received} is outside {self.acknowledged} to {self.sent}, what was sent"
            )
        self.acknowledged = received
        owed = self._owed
        while owed and owed[0].position <= received:
            settled = owed.popleft()
            settled.delivery.acknowledged(settled.awaited)

    def abandon(self) -> None:
        """Give up whatever is owed: the link is gone."""
        owed, self._owed = self._owed, deque()
        for entry in owed:
            entry.delivery.lost(entry.awaited)

"""When to ask a silent peer whether it is there, and when to give it up. Pure: time is an argument."""

from __future__ import annotations

from enum import Enum, auto


class Verdict(Enum):
    """What to do now."""

    WAIT = auto()
    PING = auto()
    DEAD = auto()


class Keepalive:
    """A peer that was not heard for `interval_s` is pinged; not heard for twice that, it is dead.

    Any byte from the peer is a sign of life, so a busy connection is never pinged. A check that comes late
    because our own process stood still says nothing about the peer: its bytes may be waiting unread, so it
    gets the second half of its time anew.
    """

    def __init__(self, interval_s: float, now: float) -> None:
        self._interval_s = interval_s
        self._due = now + interval_s
        self._pinged_at: float | None = None
        self.heard = now

    def __repr__(self) -> str:
        return f"<Keepalive heard={self.heard:.3f} due={self._due:.3f} pinged_at={self._pinged_at}>"

    def check(self, now: float) -> tuple[Verdict, float]:
        """Return what to do, and when to check next."""
        late = now - self._due > self._interval_s / 2
        silent = now - self.heard
        # A ping counts until something was heard after it.
        pinged = self._pinged_at is not None and self._pinged_at > self.heard
        if silent < self._interval_s:
            return self._next(Verdict.WAIT, self.heard + self._interval_s)
        if pinged and not late and silent >= 2 * self._interval_s:
            return self._next(Verdict.DEAD, now)
        if pinged and not late:
            return self._next(Verdict.WAIT, self.heard + 2 * self._interval_s)
        self._pinged_at = now
        # From now, not from when it was heard: after a late check that moment may be long past.
        return self._next(Verdict.PING, now + self._interval_s)

    def _next(self, verdict: Verdict, due: float) -> tuple[Verdict, float]:
        self._due = due
        return verdict, due

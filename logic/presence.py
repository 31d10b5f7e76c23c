"""Viewer counts on their way: gateways report theirs, and those that ask are told the sums."""

import asyncio
from typing import Final

from logic.counts import RoomCounts
from logic.link import Link
from protocol.envelope import Counts, Totals

TELL_EVERY_S: Final = 1.0
"""Sums go out at most this often: viewers see a number, not a meter."""

GRACE_S: Final = 5.0
"""A lost link's counts stay this long. A gateway whose link broke is back with a snapshot in a second, and viewers
should not see their number halve and recover; a dead gateway's ghosts are gone well within ten seconds."""

TOTALS_PER_ENVELOPE: Final = 4_000
"""Rooms with the longest names then take half of what an envelope may."""


class _Listener:
    """A gateway's state: its link, whether it wants sums, and of which rooms the sum is news to it."""

    __slots__ = ("instance", "link", "news", "removal", "wants")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.instance = link.instance
        self.wants = False
        self.news: set[str] = set()
        self.removal: asyncio.TimerHandle | None = None


class Presence:
    """Keeps RoomCounts up to date from the links, and sends Totals back."""

    def __init__(self, counts: RoomCounts, *, tell_every_s: float = TELL_EVERY_S, grace_s: float = GRACE_S) -> None:
        self._counts = counts
        self._tell_every_s = tell_every_s
        self._grace_s = grace_s
        self._listeners: dict[str, _Listener] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._told_at = float("-inf")

    def __repr__(self) -> str:
        return f"<Presence gateways={len(self._listeners)} {self._counts!r}>"

    def up(self, link: Link) -> None:
        """Note that a gateway is there; what it reported over an earlier link is true until its snapshot comes.

        Unless it is another process under the same name: that one's viewers are gone.
        """
        before = self._listeners.get(link.name)
        if before is not None:
            if before.removal is not None:
                before.removal.cancel()
            if before.instance != link.instance:
                self._remove(link.name)
        self._listeners[link.name] = _Listener(link)

    def counts(self, link: Link, counts: Counts) -> None:
        """Take a report."""
        listener = self._listeners.get(link.name)
        if listener is None or listener.link is not link:
            return
        apply = self._counts.snapshot if counts.snapshot else self._counts.change
        changed = apply(link.name, counts.connections, counts.rooms)
        if counts.wants_totals and (counts.snapshot or not listener.wants):
            # It cannot know what it was not told, so everything is news.
            listener.news.update(self._counts.rooms_of(link.name))
        listener.wants = counts.wants_totals
        self._spread(changed)

    def lost(self, link: Link, clean: bool) -> None:
        """Forget a gateway that left; give one that was lost its time to return."""
        listener = self._listeners.get(link.name)
        if listener is None or listener.link is not link:
            return
        listener.wants = False
        if clean:
            self._remove(link.name)
        else:
            listener.removal = asyncio.get_running_loop().call_later(self._grace_s, self._remove, link.name)

    def stop(self) -> None:
        """Cancel every timer."""
        for listener in self._listeners.values():
            if listener.removal is not None:
                listener.removal.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def _remove(self, gateway: str) -> None:
        del self._listeners[gateway]
        self._spread(self._counts.remove(gateway))

    def _spread(self, changed: set[str]) -> None:
        news = False
        for name, listener in self._listeners.items():
            if listener.wants:
                rooms = self._counts.rooms_of(name)
                listener.news.update(room for room in changed if room in rooms)
                news = news or bool(listener.news)
        if news:
            self._schedule()

    def _schedule(self) -> None:
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(max(loop.time(), self._told_at + self._tell_every_s), self._tell)

    def _tell(self) -> None:
        self._timer = None
        self._told_at = asyncio.get_running_loop().time()
        for listener in self._listeners.values():
            if listener.wants and listener.news and not self._told(listener):
                # Too far behind to be told now.
                self._schedule()

    def _told(self, listener: _Listener) -> bool:
        totals = self._counts.totals(listener.news)
        for start in range(0, len(totals), TOTALS_PER_ENVELOPE):
            part = tuple(totals[start : start + TOTALS_PER_ENVELOPE])
            if not listener.link.send(Totals(self._counts.connections, part)):
                return False
        listener.news.clear()
        return True

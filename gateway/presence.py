"""How many viewers: counted here, reported to every logic, and the sums told to the viewers. Event loop only.

A link starts with a snapshot; after that only rooms that changed are reported, all changes of a second together, so
the cost follows the changes, not the viewers. One link, the oldest, is asked to send the sums over all gateways back.
"""

from collections.abc import Callable
from typing import Final, Protocol

from gateway.hub import Hub
from protocol.envelope import Counts, Totals

REPORT_INTERVAL_S: Final = 1.0
"""How often changes are reported, and so the fastest a room's viewers hear of a new count."""

LARGE_ROOM: Final = 10_000
LARGE_ROOM_INTERVAL_S: Final = 5.0
"""In rooms of more than 10,000 viewers a new count is told at most every 5 s: each one costs a frame per viewer."""


class CountsLink(Protocol):
    """One logic that wants to know."""

    def send_counts(self, counts: Counts) -> None:
        """Send counts up."""


class Presence:
    """Reports counts and spreads totals."""

    def __init__(self, hub: Hub, now: Callable[[], float]) -> None:
        self._hub = hub
        self._now = now
        self._links: list[CountsLink] = []
        self._told_at: dict[str, float] = {}
        self._late: dict[str, int] = {}
        self.platform_connections = 0

    def add_link(self, link: CountsLink) -> None:
        """Send a new logic everything."""
        self._links.append(link)
        rooms = tuple((name, room.viewers) for name, room in self._hub.rooms.items() if room.viewers)
        link.send_counts(Counts(True, self._links[0] is link, self._hub.connections, rooms))

    def remove_link(self, link: CountsLink) -> None:
        """Forget a logic; the next oldest takes over sending totals."""
        if link not in self._links:
            return
        was_first = self._links[0] is link
        self._links.remove(link)
        if was_first and self._links:
            self._links[0].send_counts(Counts(False, True, self._hub.connections, ()))

    def report(self) -> None:
        """Report what changed since the last time; call once a second."""
        changed, self._hub.changed = self._hub.changed, set()
        viewers = {name: room.viewers for name, room in self._hub.rooms.items() if name in changed}
        rooms = tuple((name, viewers.get(name, 0)) for name in changed)
        for position, link in enumerate(self._links):
            link.send_counts(Counts(False, position == 0, self._hub.connections, rooms))
        late, self._late = self._late, {}
        for name, count in late.items():
            self._tell(name, count)

    def totals_received(self, totals: Totals) -> None:
        """Tell the viewers of the rooms whose total changed."""
        self.platform_connections = totals.connections
        for name, count in totals.rooms:
            self._tell(name, count)

    def _tell(self, name: str, count: int) -> None:
        room = self._hub.rooms.get(name)
        if room is None:
            self._told_at.pop(name, None)
            return
        now = self._now()
        if count > LARGE_ROOM and now - self._told_at.get(name, -LARGE_ROOM_INTERVAL_S) < LARGE_ROOM_INTERVAL_S:
            self._late[name] = count
            return
        self._late.pop(name, None)
        if count > LARGE_ROOM:
            self._told_at[name] = now
        room.set_online(count)

"""Viewers per room over all gateways. Pure."""

import heapq
from collections.abc import Collection, Iterable, Mapping


class _Gateway:
    """What one gateway says."""

    __slots__ = ("connections", "rooms")

    def __init__(self) -> None:
        self.connections = 0
        self.rooms: dict[str, int] = {}


class RoomCounts:
    """Adds up what gateways report. The sums are kept, not computed: asking for one costs a lookup."""

    def __init__(self) -> None:
        self._gateways: dict[str, _Gateway] = {}
        self._totals: dict[str, int] = {}
        self.connections = 0

    def __repr__(self) -> str:
        return f"<RoomCounts gateways={len(self._gateways)} rooms={len(self._totals)} connections={self.connections}>"

    def snapshot(self, gateway: str, connections: int, rooms: Iterable[tuple[str, int]]) -> set[str]:
        """Replace everything known of a gateway; return the rooms whose total changed."""
        new = dict(rooms)
        gone = ((room, 0) for room in self.rooms_of(gateway) if room not in new)
        return self.change(gateway, connections, [*gone, *new.items()])

    def change(self, gateway: str, connections: int, rooms: Iterable[tuple[str, int]]) -> set[str]:
        """Apply the listed counts of a gateway (0: nobody is left); return the rooms whose total changed."""
        known = self._gateways.setdefault(gateway, _Gateway())
        self.connections += connections - known.connections
        known.connections = connections
        changed: set[str] = set()
        for room, online in rooms:
            difference = online - known.rooms.get(room, 0)
            if difference:
                changed.add(room)
                _put(known.rooms, room, online)
                _put(self._totals, room, self._totals.get(room, 0) + difference)
        return changed

    def remove(self, gateway: str) -> set[str]:
        """Forget a gateway; return the rooms whose total changed."""
        changed = self.snapshot(gateway, 0, ())
        self._gateways.pop(gateway, None)
        return changed

    def total(self, room: str) -> int:
        """Return the viewers of a room over all gateways."""
        return self._totals.get(room, 0)

    def room_count(self) -> int:
        """Return how many rooms have a viewer."""
        return len(self._totals)

    def connections_of(self, gateway: str) -> int:
        """Return the connections of a gateway, 0 when it is unknown."""
        known = self._gateways.get(gateway)
        return 0 if known is None else known.connections

    def rooms_of(self, gateway: str) -> Mapping[str, int]:
        """Return the viewers per room of a gateway; empty when it is unknown. Do not keep it."""
        known = self._gateways.get(gateway)
        return {} if known is None else known.rooms

    def top(self, limit: int) -> list[tuple[str, int]]:
        """Return the rooms with most viewers, most first, by name where equal."""
        return heapq.nsmallest(limit, self._totals.items(), key=lambda item: (-item[1], item[0]))

    def totals(self, rooms: Collection[str]) -> list[tuple[str, int]]:
        """Return the totals of these rooms."""
        get = self._totals.get
        return [(room, get(room, 0)) for room in rooms]


def _put(counts: dict[str, int], room: str, online: int) -> None:
    if online:
        counts[room] = online
    else:
        counts.pop(room, None)

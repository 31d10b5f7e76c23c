"""Which direct pushes (to all, to a user) were seen before: they have no room and so no sequence. Pure.

Each publishing logic numbers its direct pushes. A sliding window per instance remembers which of the last numbers
came already; what is below the window is taken for a duplicate.
"""

from collections import OrderedDict
from typing import Final

WINDOW: Final = 4_096
"""Numbers remembered per instance: at 1,000 direct pushes a second the slower path may lag four seconds."""

INSTANCES_MAX: Final = 1_024
"""Instances remembered; the one heard of longest ago is forgotten first."""


class DirectDedupe:
    """Tells the first copy of a direct push from the second."""

    __slots__ = ("_windows",)

    def __init__(self) -> None:
        self._windows: OrderedDict[int, _Window] = OrderedDict()

    def first_copy(self, instance: int, counter: int) -> bool:
        """Return True exactly once for each push."""
        window = self._windows.get(instance)
        if window is None:
            window = self._windows[instance] = _Window(counter)
            if len(self._windows) > INSTANCES_MAX:
                self._windows.popitem(last=False)
        else:
            self._windows.move_to_end(instance)
        return window.add(counter)


class _Window:
    """The numbers above `floor` that came; everything at or below it is too old to tell."""

    __slots__ = ("floor", "seen")

    def __init__(self, first: int) -> None:
        # The first number heard may have overtaken the ones before it.
        self.floor = first - WINDOW
        self.seen: set[int] = set()

    def add(self, counter: int) -> bool:
        if counter <= self.floor or counter in self.seen:
            return False
        self.seen.add(counter)
        if len(self.seen) >= 2 * WINDOW:
            self.floor = max(self.seen) - WINDOW
            self.seen = {number for number in self.seen if number > self.floor}
        return True

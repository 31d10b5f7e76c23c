"""How long to wait before the next attempt. Pure: no clock, no sleep, the random source is an argument."""

from __future__ import annotations

from random import Random


class Backoff:
    """Exponential backoff with full jitter.

    Each delay is uniform between zero and a ceiling that starts at `initial_s` and doubles up to
    `maximum_s`. Full jitter rather than a fixed delay with some noise: when one server restarts, all
    its peers lose it in the same instant, and only a delay that may be anywhere spreads their return.
    """

    def __init__(self, initial_s: float, maximum_s: float, rng: Random) -> None:
        if not 0 < initial_s <= maximum_s:
            raise ValueError(f"need 0 < initial_s <= maximum_s, got {initial_s} and {maximum_s}")
        self._initial_s = initial_s
        self._maximum_s = maximum_s
        self._rng = rng
        self._ceiling_s = initial_s

    def __repr__(self) -> str:
        return f"<Backoff ceiling={self._ceiling_s}s maximum={self._maximum_s}s>"

    @property
    def ceiling_s(self) -> float:
        """The most that the next delay can be, in seconds."""
        return self._ceiling_s

    def next_delay(self) -> float:
        """Return the seconds to wait before the next attempt, and raise the ceiling for the one after."""
        delay = self._rng.uniform(0.0, self._ceiling_s)
        self._ceiling_s = min(self._ceiling_s * 2, self._maximum_s)
        return delay

    def reset(self) -> None:
        """Start over; call when an attempt has proved itself, not merely when it connected."""
        self._ceiling_s = self._initial_s

"""A token bucket. Pure: the clock is an argument."""


class TokenBucket:
    """Allows `rate` events a second on average and `burst` at once."""

    __slots__ = ("_at", "_tokens")

    def __init__(self, now: float, burst: float) -> None:
        self._at = now
        self._tokens = burst

    def allow(self, now: float, rate: float, burst: float) -> bool:
        """Take one token; False when there is none. `now` is monotonic seconds."""
        self._tokens = min(burst, self._tokens + (now - self._at) * rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True

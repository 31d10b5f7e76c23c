"""The token bucket."""

from hypothesis import given
from hypothesis import strategies as st

from runtime.rate import TokenBucket


def test_a_burst_then_the_rate() -> None:
    """As many at once as the burst says, then as many a second as the rate says."""
    bucket = TokenBucket(10.0, 2.0)
    assert [bucket.allow(10.0, 2.0, 2.0) for _ in range(3)] == [True, True, False]
    assert not bucket.allow(10.4, 2.0, 2.0)
    assert bucket.allow(10.5, 2.0, 2.0)
    assert not bucket.allow(10.5, 2.0, 2.0)


def test_silence_is_not_saved_up() -> None:
    """However long nothing was asked for, no more than the burst is given at once."""
    bucket = TokenBucket(0.0, 2.0)
    assert [bucket.allow(1000.0, 2.0, 2.0) for _ in range(3)] == [True, True, False]


@given(st.lists(st.floats(0, 2), max_size=40))
def test_never_more_than_the_rate(waits: list[float]) -> None:
    """Over any time t no more than burst + rate * t are allowed."""
    bucket = TokenBucket(0.0, 2.0)
    now, allowed = 0.0, 0
    for wait in waits:
        now += wait
        allowed += bucket.allow(now, 2.0, 2.0)
        assert allowed <= 2 + 2 * now + 1e-6

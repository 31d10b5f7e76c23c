"""Delays between attempts: bounded, growing, spread."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.backoff import Backoff


@given(st.floats(0.001, 10), st.floats(1, 100), st.integers(1, 40), st.integers())
def test_delay_stays_under_its_ceiling(initial: float, factor: float, attempts: int, seed: int) -> None:
    """A delay is never negative, never above its ceiling, and the ceiling never above the maximum."""
    backoff = Backoff(initial, initial * factor, Random(seed))
    for _ in range(attempts):
        ceiling = backoff.ceiling_s
        assert 0 <= backoff.next_delay() <= ceiling <= initial * factor


def test_ceiling_doubles_up_to_the_maximum() -> None:
    """The ceiling doubles with each attempt until it reaches the maximum, and stays there."""
    backoff = Backoff(0.5, 3.0, Random(1))
    ceilings = []
    for _ in range(5):
        ceilings.append(backoff.ceiling_s)
        backoff.next_delay()
    assert ceilings == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_reset_starts_over() -> None:
    """After reset the next delay is as short as the first."""
    backoff = Backoff(0.1, 5.0, Random(1))
    for _ in range(10):
        backoff.next_delay()
    backoff.reset()
    assert backoff.ceiling_s == 0.1


def test_peers_that_fail_together_return_spread() -> None:
    """A thousand peers that fail in one instant return over the whole interval, not in one lump."""
    delays = [Backoff(1.0, 8.0, Random(seed)).next_delay() for seed in range(1000)]
    tenths = [sum(1 for delay in delays if int(delay * 10) == tenth) for tenth in range(10)]
    assert min(tenths) > 50


@pytest.mark.parametrize(("initial", "maximum"), [(0.0, 1.0), (-1.0, 1.0), (2.0, 1.0)])
def test_senseless_limits_are_refused(initial: float, maximum: float) -> None:
    """An initial delay that is not positive, or exceeds the maximum, is a programming error."""
    with pytest.raises(ValueError, match="initial_s"):
        Backoff(initial, maximum, Random(1))

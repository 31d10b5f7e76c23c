"""Direct pushes: the first copy is told from the second."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.dedupe import INSTANCES_MAX, WINDOW, DirectDedupe


def test_the_second_copy_is_seen() -> None:
    """A number counts once, for each instance by itself."""
    dedupe = DirectDedupe()
    assert [dedupe.first_copy(1, 1), dedupe.first_copy(1, 1), dedupe.first_copy(2, 1)] == [True, False, True]


def test_the_paths_may_overtake_each_other() -> None:
    """A number below the first one heard is not a duplicate: it was overtaken."""
    dedupe = DirectDedupe()
    assert dedupe.first_copy(1, 100)
    assert dedupe.first_copy(1, 99)
    assert not dedupe.first_copy(1, 99)


def test_what_is_too_old_to_tell_is_taken_for_a_duplicate() -> None:
    """Below the window nothing is delivered: better lost than twice."""
    dedupe = DirectDedupe()
    assert dedupe.first_copy(1, WINDOW * 2)
    assert not dedupe.first_copy(1, WINDOW)
    assert dedupe.first_copy(1, WINDOW + 1)


def test_the_window_slides() -> None:
    """Memory is bounded: after many numbers the oldest are forgotten, the last WINDOW are not."""
    dedupe = DirectDedupe()
    last = WINDOW * 5
    assert all(dedupe.first_copy(1, number) for number in range(1, last + 1))
    assert not any(dedupe.first_copy(1, number) for number in range(1, last + 1))


def test_the_instance_heard_of_longest_ago_is_forgotten() -> None:
    """Instances are bounded, too: every start of a logic makes a new one."""
    dedupe = DirectDedupe()
    for instance in range(INSTANCES_MAX):
        dedupe.first_copy(instance, 1)
    assert not dedupe.first_copy(0, 1)
    assert dedupe.first_copy(INSTANCES_MAX, 1)
    assert not dedupe.first_copy(0, 1), "heard of just now"
    assert dedupe.first_copy(1, 1), "forgotten"


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 50)), max_size=100))
def test_each_push_counts_once(copies: list[tuple[int, int]]) -> None:
    """In any order, however often it comes, exactly the first copy counts."""
    dedupe = DirectDedupe()
    first = [copy for copy in copies if dedupe.first_copy(*copy)]
    assert first == list(dict.fromkeys(copies))

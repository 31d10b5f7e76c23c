"""The message model."""

from hypothesis import given
from hypothesis import strategies as st

from protocol.message import DELIVERIES, PRIORITIES, Delivery, Message, Priority, message_id

positions = st.tuples(st.integers(1, 2**53 - 1), st.integers(1, 2**53 - 1))


def test_defaults() -> None:
    """A message is lossy and of normal priority unless its publisher says otherwise."""
    assert Message(b"1") == Message(b"1", Delivery.LOSSY, Priority.NORMAL)


def test_names_of_the_api() -> None:
    """Every value has its name in the push API, and priorities are ordered."""
    assert {item.name.lower(): item for item in Delivery} == DELIVERIES
    assert {item.name.lower(): item for item in Priority} == PRIORITIES
    assert Priority.LOW < Priority.NORMAL < Priority.HIGH


def test_id_of_a_message() -> None:
    """The id is the epoch and the sequence in hexadecimal."""
    assert message_id(1_700_000_000_000_000, 1007) == "60a24181e4000-3ef"


@given(positions, positions)
def test_ids_are_unique(one: tuple[int, int], other: tuple[int, int]) -> None:
    """Two messages have the same id only when they are the same message."""
    assert (message_id(*one) == message_id(*other)) == (one == other)

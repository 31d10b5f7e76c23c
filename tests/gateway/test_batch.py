"""A room's messages between two ticks: into which frames they go."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.batch import PENDING_MAX_BYTES, Batch, PendingBatch
from protocol.limits import DATA_MAX_BYTES, FRAME_MAX_BYTES
from protocol.message import Delivery, Message


def test_one_batch() -> None:
    """All messages of a tick go into one batch, in order, with the last sequence."""
    pending = PendingBatch()
    assert pending.add([Message(b"1"), Message(b"2")], 7, 9) == 0
    assert pending.add([Message(b"3")], 9, 9) == 0
    assert (len(pending), pending.size) == (3, 6)
    assert pending.take() == [Batch([b"1", b"2", b"3"], 9, 9, True)]
    assert (len(pending), pending.size, pending.take()) == (0, 0, [])


def test_one_reliable_message_makes_a_batch_reliable() -> None:
    """A batch may be shed only when everything in it may."""
    pending = PendingBatch()
    pending.add([Message(b"1"), Message(b"2", Delivery.RELIABLE)], 1, 9)
    assert [batch.lossy for batch in pending.take()] == [False]


def test_epochs_are_not_mixed() -> None:
    """A frame has one epoch, so a new one starts a new frame."""
    pending = PendingBatch()
    pending.add([Message(b"1")], 50, 8)
    pending.add([Message(b"2"), Message(b"3")], 1, 9)
    assert pending.take() == [Batch([b"1"], 50, 8, True), Batch([b"2", b"3"], 2, 9, True)]


def test_large_batches_are_split() -> None:
    """Messages that do not fit in one frame go into several."""
    pending = PendingBatch()
    data = b"x" * DATA_MAX_BYTES
    pending.add([Message(data)] * 20, 1, 9)
    assert [(len(batch.items), batch.seq) for batch in pending.take()] == [(7, 7), (7, 14), (6, 20)]


def test_an_overloaded_room_sheds_what_it_may() -> None:
    """Beyond the bound lossy messages are shed and counted; reliable ones stay, and sequences stay true."""
    pending = PendingBatch()
    data = b"x" * DATA_MAX_BYTES
    fits = PENDING_MAX_BYTES // (DATA_MAX_BYTES + 1) + 1
    assert pending.add([Message(data)] * (fits + 3), 1, 9) == 3
    assert pending.add([Message(b"1", Delivery.RELIABLE), Message(b"2")], fits + 4, 9) == 1
    last = pending.take()[-1]
    assert (last.items[-1], last.seq, last.lossy) == (b"1", fits + 4, False)


pushes = st.lists(
    st.tuples(
        st.lists(st.builds(Message, st.integers(1, DATA_MAX_BYTES).map(bytes), st.sampled_from(Delivery)), max_size=12),
        st.sampled_from([0, 0, 0, 1]),
    ),
    max_size=6,
)


@given(pushes)
def test_any_batches_hold_everything_in_order(added: list[tuple[list[Message], int]]) -> None:
    """Batches hold exactly what was added; each has one epoch, is within the limit, and as large as can be."""
    pending = PendingBatch()
    expected: list[tuple[bytes, int, int]] = []
    epoch, seq = 1, 1
    for messages, change in added:
        epoch, seq = (epoch + 1, 1) if change else (epoch, seq)
        assert pending.add(messages, seq, epoch) == 0
        expected += [(message.data, epoch, seq + index) for index, message in enumerate(messages)]
        seq += len(messages)
    batches = pending.take()
    assert [item for batch in batches for item in batch.items] == [data for data, _, _ in expected]
    position = 0
    for batch in batches:
        position += len(batch.items)
        assert (batch.epoch, batch.seq) == expected[position - 1][1:]
        assert len(b",".join(batch.items)) <= FRAME_MAX_BYTES
    for one, other in pairwise(batches):
        assert one.epoch != other.epoch or len(b",".join([*one.items, other.items[0]])) > FRAME_MAX_BYTES

"""What waits for a slow viewer: bounded, in order, and counted to the last message."""

from dataclasses import dataclass, field

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.outbox import Frame, Outbox

LIMIT = 100


def lossy(size: int, count: int = 1, room: str | None = "r") -> Frame:
    """Make a frame that may be shed."""
    return Frame(b"l" * size, room, count, True)


def reliable(size: int, count: int = 1) -> Frame:
    """Make a frame that may not be shed."""
    return Frame(b"R" * size, "r", count, False)


def contents(outbox: Outbox) -> list[bytes]:
    """Take everything out."""
    taken: list[bytes] = []
    while (data := outbox.take()) is not None:
        taken.append(data)
    return taken


def test_first_in_first_out() -> None:
    """Frames and replies come out in the order in which they were put."""
    outbox = Outbox(LIMIT)
    for item in (lossy(10), b"reply", reliable(20)):
        assert outbox.put(item)
    assert outbox.size == 35
    assert contents(outbox) == [b"l" * 10, b"reply", b"R" * 20]
    assert (outbox.size, outbox.delivered, outbox.waiting) == (0, 2, 0)


def test_the_rest_comes_first() -> None:
    """The rest of a partly written frame goes before all else and may be larger than the limit."""
    outbox = Outbox(LIMIT)
    outbox.begin_with_rest(b"x" * 300, 4)
    assert (outbox.size, outbox.waiting) == (300, 4)
    assert outbox.take() == b"x" * 300
    assert outbox.delivered == 4


def test_the_oldest_lossy_frames_are_shed() -> None:
    """Room is made by the oldest lossy frames, no more of them than needed, counted by room."""
    outbox = Outbox(LIMIT)
    outbox.put(lossy(40, 3, "a"))
    outbox.put(reliable(20))
    outbox.put(lossy(40, 5, "b"))
    assert outbox.put(lossy(30, 7, "a"))
    assert outbox.take_shed() == {"a": 3}
    assert outbox.take_shed() == {}
    assert contents(outbox) == [b"R" * 20, b"l" * 40, b"l" * 30]


def test_broadcasts_are_counted_without_a_room() -> None:
    """What belongs to no room is counted under the empty name."""
    outbox = Outbox(LIMIT)
    outbox.put(lossy(60, 2, None))
    outbox.put(reliable(60))
    assert outbox.take_shed() == {"": 2}


def test_a_lossy_frame_that_cannot_fit_is_shed_itself() -> None:
    """Behind reliable frames the newest lossy frame is the one to go, and the viewer stays."""
    outbox = Outbox(LIMIT)
    outbox.put(reliable(90))
    assert outbox.put(lossy(20, 2))
    assert outbox.take_shed() == {"r": 2}
    assert contents(outbox) == [b"R" * 90]


@pytest.mark.parametrize("item", [reliable(20), b"r" * 20])
def test_what_must_not_be_lost_ends_the_viewer(item: Frame | bytes) -> None:
    """A reliable frame or a reply that cannot fit is refused: this viewer cannot be kept."""
    outbox = Outbox(LIMIT)
    outbox.put(reliable(90))
    assert not outbox.put(item)
    assert contents(outbox) == [b"R" * 90]


def test_exactly_full() -> None:
    """The limit itself is allowed."""
    outbox = Outbox(LIMIT)
    assert outbox.put(reliable(LIMIT))
    assert outbox.size == LIMIT


def test_last_word() -> None:
    """A last word forgets what waits but never the rest of a frame that the peer is in the middle of."""
    outbox = Outbox(LIMIT)
    outbox.begin_with_rest(b"rest", 1)
    outbox.put(lossy(10, 3))
    outbox.put(b"reply")
    assert outbox.put_last(b"close") == 3
    assert outbox.size == 9
    assert contents(outbox) == [b"rest", b"close"]


def test_repr_tells_its_state() -> None:
    """The representation shows how full it is and what was shed."""
    outbox = Outbox(LIMIT)
    outbox.put(lossy(60, 3))
    outbox.put(lossy(50, 1))
    assert repr(outbox) == "<Outbox items=1 bytes=50/100 shed=3>"


def shed_in(outbox: Outbox) -> int:
    """Return how many messages an outbox says it shed."""
    return sum(outbox.shed.values())


@dataclass
class Model:
    """What went in, by count of messages, and what came out."""

    put: int = 0
    refused: int = 0
    forgotten: int = 0
    shed: int = 0
    order: list[int] = field(default_factory=list)


class OutboxMachine(RuleBasedStateMachine):
    """Any sequence of calls keeps the size bound, the order and the count."""

    @initialize(rest=st.none() | st.tuples(st.integers(1, 150), st.integers(0, 5)))
    def start(self, rest: tuple[int, int] | None) -> None:
        self.outbox = Outbox(LIMIT)
        self.model = Model()
        self.serial = 0
        self.last_taken = -1
        self.allowed = LIMIT
        self.closed = False
        if rest:
            self.outbox.begin_with_rest(self._bytes(rest[0]), rest[1])
            self.model.put += rest[1]
            self.allowed = max(LIMIT, rest[0])

    def _bytes(self, size: int) -> bytes:
        self.serial += 1
        return self.serial.to_bytes(4, "big") + bytes(max(size - 4, 0))

    @precondition(lambda self: not self.closed)
    @rule(size=st.integers(4, 120), count=st.integers(0, 5), is_lossy=st.booleans())
    def put_frame(self, size: int, count: int, is_lossy: bool) -> None:
        kept = self.outbox.put(Frame(self._bytes(size), "r", count, is_lossy))
        self.model.put += count
        if not kept:
            assert not is_lossy
            self.model.refused += count

    @precondition(lambda self: not self.closed)
    @rule(size=st.integers(4, 120))
    def put_reply(self, size: int) -> None:
        self.outbox.put(self._bytes(size))

    @rule()
    def take(self) -> None:
        data = self.outbox.take()
        if data is None:
            assert (self.outbox.size, self.outbox.waiting) == (0, 0)
            return
        serial = int.from_bytes(data[:4], "big")
        assert serial > self.last_taken
        self.last_taken = serial

    @rule()
    def take_shed(self) -> None:
        self.model.shed += sum(self.outbox.take_shed().values())

    @precondition(lambda self: not self.closed)
    @rule()
    def last_word(self) -> None:
        self.closed = True
        self.allowed += 10
        self.model.forgotten += self.outbox.put_last(self._bytes(10))

    @invariant()
    def bounded(self) -> None:
        if hasattr(self, "outbox"):
            assert 0 <= self.outbox.size <= self.allowed

    @invariant()
    def every_message_is_accounted_for(self) -> None:
        if hasattr(self, "outbox"):
            gone = self.model.refused + self.model.forgotten + self.model.shed + shed_in(self.outbox)
            assert self.model.put == gone + self.outbox.delivered + self.outbox.waiting


TestOutbox = OutboxMachine.TestCase
TestOutbox.settings = settings(max_examples=40, stateful_step_count=30)

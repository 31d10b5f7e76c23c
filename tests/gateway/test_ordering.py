"""A room's order: each rule of the module by example, then any mixture of paths, publishers and losses."""

import math
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.ordering import GAP_HOLD_S, HELD_MAX_MESSAGES, RETIRED_EPOCHS, REVIVE_S, Ready, RoomOrder
from protocol.envelope import RoomPush

EPOCH = 77


def push(first: int, count: int = 1, epoch: int = EPOCH) -> RoomPush:
    """Make a push; its block tells it from any other."""
    return RoomPush("r", epoch, first, 0, count, b"%d/%d+%d" % (epoch, first, count))


def seqs(ready: list[Ready]) -> list[int]:
    """Return the sequences that are to be delivered now."""
    return [
        seq for item in ready for seq in range(item.push.first_seq + item.skip, item.push.first_seq + item.push.count)
    ]


def test_rule_1_the_second_copy_is_dropped() -> None:
    """What was delivered is never delivered again."""
    order = RoomOrder(EPOCH, 5)
    assert seqs(order.accept(push(5, 2), 0)) == [5, 6]
    assert order.accept(push(5, 2), 0) == []
    assert order.accept(push(1, 4), 0) == []
    assert order.duplicates == 6


def test_rule_1_only_what_is_new_of_an_overlap_is_delivered() -> None:
    """A push that the position read from Redis already counts in part is delivered in part."""
    order = RoomOrder(EPOCH, 5)
    assert order.accept(push(3, 4), 0) == [Ready(push(3, 4), 2)]
    assert (order.next_seq, order.duplicates) == (7, 2)


def test_rules_2_and_3_what_overtook_is_held_for_the_missing_one() -> None:
    """A push above the next one waits, and follows as soon as the gap is filled."""
    order = RoomOrder(EPOCH, 1)
    assert order.accept(push(3, 2), 0) == []
    assert order.accept(push(6), 0) == []
    assert (seqs(order.accept(push(1, 2), 0)), order.waiting) == ([1, 2, 3, 4], True)
    assert (seqs(order.accept(push(5), 0)), order.waiting) == ([5, 6], False)
    assert order.lost == 0


def test_rule_3_the_second_copy_of_what_is_held_is_dropped() -> None:
    """A held push has one copy, too."""
    order = RoomOrder(EPOCH, 1)
    order.accept(push(2), 0)
    assert order.accept(push(2), 0) == []
    assert seqs(order.accept(push(1), 0)) == [1, 2]
    assert order.duplicates == 1


def test_rule_4_a_gap_is_given_up_in_time() -> None:
    """What is missing is waited for as long as the rule says, then counted, and never delivered later."""
    order = RoomOrder(EPOCH, 1)
    order.accept(push(4, 2), 10.0)
    assert order.expire(10.0 + GAP_HOLD_S * 0.99) == []
    assert seqs(order.expire(10.0 + GAP_HOLD_S * 1.01)) == [4, 5]
    assert (order.lost, order.waiting) == (3, False)
    assert order.accept(push(1, 3), 10.3) == []
    assert order.expire(99) == []


def test_rule_4_every_gap_has_its_own_time() -> None:
    """A second gap is not given up with the first: its time begins when something behind it came."""
    order = RoomOrder(EPOCH, 1)
    order.accept(push(2), 0.0)
    order.accept(push(4), 0.15)
    assert seqs(order.expire(0.2)) == [2]
    assert order.expire(0.3) == []
    assert seqs(order.expire(0.16 + GAP_HOLD_S)) == [4]
    assert order.lost == 2


def test_rule_4_a_filled_gap_does_not_shorten_the_next() -> None:
    """A push that came late is waited for as long as any other, however long others were held before."""
    order = RoomOrder(EPOCH, 1)
    order.accept(push(2), 0.0)
    order.accept(push(4), 0.19)
    assert seqs(order.accept(push(1), 0.195)) == [1, 2]
    assert order.expire(0.2) == []
    assert seqs(order.accept(push(3), 0.38)) == [3, 4]
    assert order.lost == 0


def test_rule_4_too_much_is_not_held() -> None:
    """A room's memory is bounded: when more is held than allowed, the gap is given up at once."""
    order = RoomOrder(EPOCH, 1)
    assert order.accept(push(2, HELD_MAX_MESSAGES), 0) == []
    late = 3 + HELD_MAX_MESSAGES
    assert seqs(order.accept(push(late), 0)) == list(range(2, HELD_MAX_MESSAGES + 2))
    assert (order.lost, order.waiting) == (1, True)
    assert seqs(order.accept(push(late - 1), 0)) == [late - 1, late]


def test_rule_5_a_new_epoch_starts_at_one() -> None:
    """What is held of the old epoch goes out first, then the new one from its first message."""
    order = RoomOrder(EPOCH, 5)
    order.accept(push(7), 0)
    assert seqs(order.accept(push(1, epoch=78), 0)) == [7, 1]
    assert (order.epoch, order.next_seq, order.lost) == (78, 2, 2)


def test_rule_5_a_new_epoch_waits_for_its_first_message() -> None:
    """When the second message of a new epoch overtakes the first it is held like any other."""
    order = RoomOrder(EPOCH, 5)
    assert order.accept(push(2, epoch=78), 0) == []
    assert seqs(order.accept(push(1, epoch=78), 0)) == [1, 2]


@pytest.mark.parametrize("new", [EPOCH - 1, EPOCH + 1], ids=["clock went back", "clock went on"])
def test_rule_5_a_replaced_epoch_is_stale(new: int) -> None:
    """Copies of a replaced epoch are dropped, whichever number is larger: clocks are never compared."""
    order = RoomOrder(EPOCH, 5)
    order.accept(push(1, epoch=new), 0)
    assert order.accept(push(5, 3), 0) == []
    assert (order.epoch, order.duplicates) == (new, 3)


def test_rule_5_several_epochs_are_remembered() -> None:
    """As many replaced epochs stay stale as the limit says."""
    order = RoomOrder(1, 1)
    for epoch in range(2, RETIRED_EPOCHS + 2):
        order.accept(push(1, epoch=epoch), 0)
    for epoch in range(1, RETIRED_EPOCHS + 1):
        assert order.accept(push(2, epoch=epoch), 0) == []
    assert order.epoch == RETIRED_EPOCHS + 1


def test_rule_6_a_room_recovers_from_a_push_of_a_life_it_never_saw() -> None:
    """A very late push of an older epoch stops the live one for a second at most, and nothing comes twice."""
    order = RoomOrder(EPOCH, 5)
    assert seqs(order.accept(push(5), 0)) == [5]
    assert order.accept(push(9, epoch=EPOCH - 1), 1) == []
    assert seqs(order.expire(1 + 2 * GAP_HOLD_S)) == [9]
    assert order.accept(push(6), 2) == []
    assert order.accept(push(7), 2 + REVIVE_S / 2) == []
    assert order.accept(push(5), 2 + REVIVE_S) == [], "a copy of what was delivered revives nothing"
    assert order.accept(push(8), 2 + REVIVE_S) == []
    assert order.epoch == EPOCH
    assert seqs(order.expire(2 + REVIVE_S + 2 * GAP_HOLD_S)) == [8]
    assert seqs(order.accept(push(9), 4)) == [9]
    assert order.accept(push(8), 4) == []


def test_rule_6_late_copies_of_a_replaced_epoch_revive_nothing() -> None:
    """As long as the current epoch is heard of, what comes of the replaced one is stale, however long it comes."""
    order = RoomOrder(EPOCH, 5)
    for second in range(10):
        assert seqs(order.accept(push(second + 1, epoch=EPOCH + 1), second)) == [second + 1]
        assert order.accept(push(second + 5), second) == []
    assert order.epoch == EPOCH + 1


def test_an_unknown_position_is_the_first_push() -> None:
    """When Redis did not say where the room stands, the first push that comes decides."""
    order = RoomOrder(0, 0)
    assert seqs(order.accept(push(40), 0)) == [40]
    assert order.accept(push(39), 0) == []
    assert (order.epoch, order.lost) == (EPOCH, 0)


def test_a_room_that_never_had_a_message_starts_at_one() -> None:
    """When Redis says that there is no sequence yet, the first message is waited for."""
    order = RoomOrder(0, 1)
    assert order.accept(push(2), 0) == []
    assert seqs(order.accept(push(1), 0)) == [1, 2]


def test_repr_tells_its_state() -> None:
    """The representation shows the position and what is held."""
    order = RoomOrder(EPOCH, 1)
    order.accept(push(2), 0)
    assert repr(order) == "<RoomOrder epoch=77 next=1 held=1 lost=0>"


@dataclass(frozen=True)
class Arrival:
    """One copy of a push and when it comes."""

    at: float
    push: RoomPush


@st.composite
def traffic(draw: st.DrawFn) -> tuple[list[RoomPush], list[Arrival]]:
    """Several publishers' pushes in the order Redis gave them, and the copies of two paths as they come."""
    pushes: list[RoomPush] = []
    for epoch in range(1, draw(st.integers(1, 2)) + 1):
        first = 1
        for count in draw(st.lists(st.integers(1, 4), min_size=1, max_size=10)):
            pushes.append(push(first, count, epoch))
            first += count
    delays = st.one_of(st.just(0.0), st.floats(0, 0.6), st.just(math.inf))
    arrivals = [
        Arrival(index * 0.05 + delay, item)
        for index, item in enumerate(pushes)
        for delay in draw(st.tuples(delays, delays))
        if delay != math.inf
    ]
    return pushes, sorted(arrivals, key=lambda arrival: arrival.at)


def run(order: RoomOrder, arrivals: list[Arrival]) -> list[tuple[int, int]]:
    """Feed the arrivals with a clock that looks for expired gaps whenever something comes; return what is delivered."""
    ready: list[Ready] = []
    for arrival in arrivals:
        ready += order.expire(arrival.at)
        ready += order.accept(arrival.push, arrival.at)
    ready += order.expire(math.inf)
    return [(item.push.epoch, seq) for item in ready for seq in seqs([item])]


@given(traffic())
def test_any_traffic_is_delivered_in_order_and_once(made: tuple[list[RoomPush], list[Arrival]]) -> None:
    """Whatever comes, in whatever order, copies and losses: what goes out rises strictly and epochs never alternate."""
    _, arrivals = made
    order = RoomOrder(1, 1)
    delivered = run(order, arrivals)
    by_epoch: dict[int, list[int]] = {}
    for epoch, seq in delivered:
        by_epoch.setdefault(epoch, []).append(seq)
    assert all(numbers == sorted(set(numbers)) for numbers in by_epoch.values())
    assert [epoch for epoch, _ in delivered] == [epoch for epoch in by_epoch for _ in by_epoch[epoch]]
    assert not order.waiting
    # Each copy of each message was delivered or dropped as a duplicate, and none was made up.
    assert len(delivered) + order.duplicates == sum(arrival.push.count for arrival in arrivals)
    assert set(delivered) <= {(a.push.epoch, seq) for a in arrivals for seq in seqs([Ready(a.push, 0)])}


@given(traffic())
def test_what_comes_within_the_hold_is_not_lost(made: tuple[list[RoomPush], list[Arrival]]) -> None:
    """A message is delivered when either copy comes within the hold time after the first one behind it."""
    pushes, arrivals = made
    first_epoch = [item for item in pushes if item.epoch == 1]
    arrivals = [arrival for arrival in arrivals if arrival.push.epoch == 1]
    came = {item.first_seq: min((a.at for a in arrivals if a.push is item), default=math.inf) for item in first_epoch}
    delivered = {seq for _, seq in run(RoomOrder(1, 1), arrivals)}
    for item in first_epoch:
        behind = min((at for first, at in came.items() if first > item.first_seq), default=math.inf)
        if came[item.first_seq] < behind + GAP_HOLD_S * 0.99 and came[item.first_seq] != math.inf:
            assert set(seqs([Ready(item, 0)])) <= delivered

"""Adding up viewers."""

from hypothesis import given
from hypothesis import strategies as st

from logic.counts import RoomCounts

ROOMS = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 5))
REPORTS = st.lists(
    st.tuples(st.sampled_from(("snapshot", "change", "remove")), st.sampled_from(("g1", "g2", "g3")), ROOMS),
    max_size=20,
)


@given(REPORTS)
def test_totals_are_the_sums_of_what_is_known(reports: list[tuple[str, str, dict[str, int]]]) -> None:
    """After any reports the totals are the sums over gateways, and exactly the changed rooms were named."""
    counts, known = RoomCounts(), dict[str, dict[str, int]]()
    for kind, gateway, rooms in reports:
        before = {room: counts.total(room) for room in "abcd"}
        if kind == "remove":
            changed = counts.remove(gateway)
            known.pop(gateway, None)
        else:
            old = {} if kind == "snapshot" else known.get(gateway, {})
            known[gateway] = old | rooms
            apply = counts.snapshot if kind == "snapshot" else counts.change
            changed = apply(gateway, sum(known[gateway].values()), rooms.items())
        after = {room: sum(rooms.get(room, 0) for rooms in known.values()) for room in "abcd"}
        assert {room: counts.total(room) for room in "abcd"} == after
        assert changed == {room for room in "abcd" if after[room] != before[room]}
    assert counts.connections == sum(sum(rooms.values()) for rooms in known.values())
    assert counts.room_count() == sum(1 for room in "abcd" if counts.total(room))


def test_the_fullest_rooms_come_first() -> None:
    """The top is ordered by viewers, then by name, and no longer than asked."""
    counts = RoomCounts()
    counts.snapshot("g1", 9, {"b": 3, "a": 3, "c": 1}.items())
    counts.snapshot("g2", 5, {"c": 4, "d": 1}.items())
    assert counts.top(3) == [("c", 5), ("a", 3), ("b", 3)]
    assert counts.top(0) == []


def test_a_gateways_part_is_known() -> None:
    """Connections and rooms are known per gateway; a stranger has none."""
    counts = RoomCounts()
    counts.change("g1", 9, {"a": 3}.items())
    assert (counts.connections_of("g1"), dict(counts.rooms_of("g1"))) == (9, {"a": 3})
    assert (counts.connections_of("g2"), dict(counts.rooms_of("g2"))) == (0, {})
    assert counts.totals(["a", "z"]) == [("a", 3), ("z", 0)]

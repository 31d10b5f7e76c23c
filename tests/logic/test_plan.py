"""Merging pushes into calls, and the names of keys."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from logic.model import Idempotency, Receipt
from logic.plan import CALL_MAX_BYTES, CALL_MAX_MESSAGES, Accepted, idempotency_key, plan
from protocol.names import Room, UserId
from protocol.partitions import CHANNELS, partition_of, room_key

LOOP = asyncio.new_event_loop()
LOOP.close()


def push(
    room: str | None = "r", *, user: str | None = None, count: int = 1, size: int = 10, key: Idempotency | None = None
) -> Accepted:
    """Return an accepted push; its future is never used here."""
    future: asyncio.Future[Receipt] = asyncio.Future(loop=LOOP)
    name = None if room is None else Room(room)
    return Accepted(name, None if user is None else UserId(user), bytes(size), count, key, future)


KEY = Idempotency("shop", "k", "f")
PUSHES = st.lists(
    st.builds(
        push,
        st.sampled_from(("a", "b", None)),
        count=st.sampled_from((1, 400, 1000)),
        size=st.sampled_from((1, 400_000, CALL_MAX_BYTES + 5_000)),
        key=st.sampled_from((None, None, KEY)),
    ),
    max_size=30,
)


@given(PUSHES)
def test_every_push_is_in_one_call_in_order(pushes: list[Accepted]) -> None:
    """A plan holds every push once, and those of a room in the order in which they came."""
    calls = plan(pushes)
    planned = [push for call in calls for push in call.pushes]
    assert sorted(map(id, planned)) == sorted(map(id, pushes))
    for room in ("a", "b"):
        assert [push for push in planned if push.room == room] == [push for push in pushes if push.room == room]


@given(PUSHES)
def test_calls_keep_the_limits(pushes: list[Accepted]) -> None:
    """A call of several pushes is for one room, has no idempotency key, and is no larger than a full push."""
    for call in plan(pushes):
        assert call.count == sum(push.count for push in call.pushes)
        assert call.block() == b"".join(push.block for push in call.pushes)
        if len(call.pushes) > 1:
            assert call.count <= CALL_MAX_MESSAGES
            assert len(call.block()) <= CALL_MAX_BYTES
            assert {(push.room, push.idempotency) for push in call.pushes} == {(call.first.room, None)}
            assert call.first.room is not None


def test_pushes_of_a_room_share_a_call_though_others_come_between() -> None:
    """Order is a matter of one room: a hundred pushes to two rooms in turn are two calls."""
    calls = plan([push("a" if number % 2 else "b") for number in range(100)])
    assert [len(call.pushes) for call in calls] == [50, 50]


def test_an_idempotent_push_stays_alone() -> None:
    """A push with a key is a call of its own, and nothing of its room is moved across it."""
    pushes = [push(), push(), push(key=KEY), push(), push()]
    assert [len(call.pushes) for call in plan(pushes)] == [2, 1, 2]


def test_keys_share_the_slot_of_their_channel() -> None:
    """A room's position, its idempotency records and its channel carry one hash tag."""
    accepted = push("live/42", key=KEY)
    tag = CHANNELS[partition_of("live/42")].removesuffix("push")
    assert room_key(Room("live/42")) == f"{tag}room:live/42"
    assert idempotency_key(accepted, KEY).startswith(f"{tag}idem:")
    assert idempotency_key(push(None), KEY).startswith(CHANNELS[0].removesuffix("push"))
    user = push(None, user="7", key=KEY)
    assert idempotency_key(user, KEY).startswith(CHANNELS[partition_of("7")].removesuffix("push"))


def test_idempotency_keys_are_told_apart() -> None:
    """Owner, key and target are all part of a record's name, and no two triples read the same."""
    targets = [push("a"), push("b"), push(None), push(None, user="a"), push(None, user="b")]
    owners = [Idempotency("shop", "k", "f"), Idempotency("shop", "k2", "f"), Idempotency("sho", "p k", "f")]
    names = {idempotency_key(target, owner) for target in targets for owner in owners}
    assert len(names) == len(targets) * len(owners)
    assert idempotency_key(push("a"), Idempotency("shop", "k", "other")) in names

"""A stripe of connections: who gets a frame, who waits, and what never happens to anybody."""

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from gateway.bucket import Bucket, GroupKey
from gateway.outbox import Frame
from gateway.writer import DEAD
from protocol.codes import CloseCode
from protocol.dialect import Joined, Shed
from protocol.websocket.receiver import Close
from tests.gateway.viewer import DIALECT, SMALL_BUFFER, Viewer, viewers

ALL: GroupKey = (None, "json")
ROOM: GroupKey = ("r", "json")
OTHER: GroupKey = ("s", "json")


@pytest.fixture
def bucket() -> Bucket:
    """Make a bucket with small outboxes."""
    return Bucket(64 * 1024)


@pytest.fixture
def two(bucket: Bucket) -> Iterator[list[Viewer]]:
    """Make two viewers of the room `r`."""
    with viewers(bucket, 2, buffer_bytes=SMALL_BUFFER) as made:
        for viewer in made:
            join(viewer)
            viewer.raw()
        yield made


def join(viewer: Viewer, key: GroupKey = ROOM, at: tuple[int, int, int] = (0, 0, 0)) -> bool:
    """Join a room."""
    room = key[0] or ""
    return viewer.connection.bucket.join(
        viewer.connection, key, at, lambda seq, epoch: DIALECT.encode_reply(Joined(room, seq, epoch))
    )


def frame(number: int, size: int = 10, *, lossy: bool = True, room: str | None = "r", count: int = 1) -> Frame:
    """Make a frame whose one item tells its number."""
    item = b'"%d%b"' % (number, b"x" * size)
    if room is None:
        return Frame(DIALECT.encode_direct_batch("all", [item]), None, count, lossy)
    return Frame(DIALECT.encode_room_batch(room, [item], number, 1), room, count, lossy, number, number, 1)


def seqs(messages: list[Any]) -> list[int]:
    """Return the sequences of the PUSH messages."""
    return [message["data"]["seq"] for message in messages if message["type"] == "PUSH"]


def make_slow(viewer: Viewer, number: int) -> int:
    """Fill a viewer's socket and write a frame that it cannot take; returns the bytes it has to read first."""
    filler = viewer.fill()
    written = viewer.connection.bucket.write(ROOM, frame(number), 5.0)
    assert viewer.connection in written.troubled
    assert viewer.connection.outbox is not None
    return filler


def test_a_frame_reaches_the_room_and_nobody_else(bucket: Bucket, two: list[Viewer]) -> None:
    """Members of the room get the frame, everybody else in the bucket nothing."""
    with viewers(bucket, 1) as (stranger,):
        join(stranger, OTHER)
        stranger.raw()
        written = bucket.write(ROOM, frame(1), 0)
        assert (written.written, written.queued, written.troubled) == (2, 0, [])
        assert [viewer.raw() for viewer in two] == [frame(1).data] * 2
        assert stranger.raw() == b""


def test_a_broadcast_reaches_every_connection(bucket: Bucket, two: list[Viewer]) -> None:
    """What belongs to no room reaches whoever has entered, in a room or not."""
    with viewers(bucket, 1) as (stranger,):
        assert bucket.write(ALL, frame(1, room=None), 0).written == 3
        assert [viewer.raw() for viewer in (*two, stranger)] == [frame(1, room=None).data] * 3


def test_a_frame_is_written_once(bucket: Bucket, two: list[Viewer]) -> None:
    """A frame whose number the group has passed is skipped; broadcasts have no number."""
    assert bucket.write(ROOM, frame(2), 0).written == 2
    assert bucket.write(ROOM, frame(2), 0).written == 0
    assert bucket.write(ROOM, frame(1), 0).written == 0
    assert [bucket.write(ALL, frame(1, room=None), 0).written for _ in range(2)] == [2, 2]
    assert seqs(two[0].messages()[:1]) == [2]


def test_an_unknown_room_is_nobody(bucket: Bucket) -> None:
    """A frame for a room without viewers here goes nowhere."""
    assert bucket.write(ROOM, frame(1), 0).written == 0
    assert not bucket.holds(ROOM)


def test_join_is_answered_before_frames(bucket: Bucket) -> None:
    """The answer comes first, and tells the position behind which everything follows."""
    with viewers(bucket, 2) as (first, second):
        assert join(first, at=(4, 9, 1))
        bucket.write(ROOM, frame(10), 0)
        assert join(second, at=(99, 99, 1))
        bucket.write(ROOM, frame(11), 0)
        assert [m["data"]["seq"] for m in first.messages()] == [9, 10, 11]
        assert [m["data"]["seq"] for m in second.messages()] == [10, 11], "the group knows better than the room"


def test_a_frame_older_than_the_join_is_skipped(bucket: Bucket) -> None:
    """A frame that was on its way when the group was made is in the position that was told."""
    with viewers(bucket, 1) as (viewer,):
        join(viewer, at=(4, 9, 1))
        assert bucket.write(ROOM, frame(4), 0).written == 0
        assert bucket.write(ROOM, frame(5), 0).written == 1


def test_a_second_join_is_answered_and_changes_nothing(bucket: Bucket, two: list[Viewer]) -> None:
    """Joining twice is answered with where this connection stands, and frames still come once."""
    bucket.write(ROOM, frame(3), 0)
    assert join(two[0], at=(99, 99, 1))
    bucket.write(ROOM, frame(4), 0)
    assert [(m["type"], m["data"]["seq"]) for m in two[0].messages()] == [("PUSH", 3), ("JOINED", 3), ("PUSH", 4)]
    assert two[0].connection.rooms == ("r",)


def test_leaving_ends_the_frames(bucket: Bucket, two: list[Viewer]) -> None:
    """After leaving nothing of the room comes; the last to leave empties the group."""
    assert not bucket.leave(two[0].connection, ROOM)
    bucket.write(ROOM, frame(1), 0)
    assert (two[0].raw(), two[1].raw()) == (b"", frame(1).data)
    assert bucket.leave(two[1].connection, ROOM)
    assert not bucket.holds(ROOM)
    assert bucket.holds(ALL)


def test_exit_ends_all_frames_but_not_replies(bucket: Bucket, two: list[Viewer]) -> None:
    """A closing connection gets no frame of anything, but its Close can still be written."""
    bucket.exit(two[0].connection)
    bucket.exit(two[0].connection)
    bucket.write(ROOM, frame(1), 0)
    bucket.write(ALL, frame(1, room=None), 0)
    assert two[0].raw() == b""
    assert bucket.send(two[0].connection, b"last", 0)
    assert two[0].raw() == b"last"


def test_a_forgotten_descriptor_is_never_touched(bucket: Bucket, two: list[Viewer]) -> None:
    """After `forget` the number may belong to anybody: neither frames nor replies go there."""
    number = two[0].connection.descriptor
    bucket.forget(two[0].connection)
    reader, writer = os.pipe2(os.O_NONBLOCK)
    try:
        # What the kernel does when the number is given to the next socket.
        os.dup2(writer, number)
        assert bucket.write(ROOM, frame(1), 0).written == 1
        assert bucket.write(ALL, frame(1, room=None), 0).written == 1
        assert bucket.send(two[0].connection, b"reply", 0)
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)


def test_a_join_after_forget_leaves_no_trace(bucket: Bucket) -> None:
    """A join that comes too late does not put the connection back."""
    with viewers(bucket, 1) as (viewer,):
        bucket.forget(viewer.connection)
        assert join(viewer)
        assert viewer.connection.rooms == ()
        assert not bucket.holds(ROOM)
        assert not bucket.holds(ALL)


def test_a_dead_peer_is_taken_out_at_once(bucket: Bucket, two: list[Viewer]) -> None:
    """A connection whose peer is gone leaves all groups under the same lock; the others get the frame."""
    two[0].end.close()
    written = bucket.write(ROOM, frame(1), 0)
    assert (written.written, written.queued, written.troubled) == (1, 0, [two[0].connection])
    assert (two[0].connection.descriptor, two[0].connection.attached) == (DEAD, False)
    assert bucket.connections("json") == [two[1].connection]
    assert two[1].raw() == frame(1).data


def test_a_reply_to_a_dead_peer_needs_care(bucket: Bucket, two: list[Viewer]) -> None:
    """A reply finds out, too, and later ones go nowhere."""
    two[0].end.close()
    assert not bucket.send(two[0].connection, b"reply", 0)
    assert bucket.send(two[0].connection, b"reply", 0)
    assert bucket.connections("json") == [two[1].connection]


def test_a_join_of_a_dead_peer_leaves_no_group(bucket: Bucket) -> None:
    """When the answer to a join finds the peer gone the room stays empty."""
    with viewers(bucket, 1) as (viewer,):
        viewer.end.close()
        assert not join(viewer)
        assert not bucket.holds(ROOM)


def test_a_second_join_of_a_dead_peer_leaves_no_group(bucket: Bucket) -> None:
    """The same for one that was the only viewer of the room."""
    with viewers(bucket, 1) as (viewer,):
        join(viewer)
        viewer.end.close()
        assert not join(viewer)
        assert not bucket.holds(ROOM)


def test_a_full_socket_moves_to_the_slow_side(bucket: Bucket, two: list[Viewer]) -> None:
    """A viewer that does not read costs its own outbox only; what it missed comes later, in order, and whole."""
    slow, fast = two
    join(slow, OTHER)
    slow.raw()
    filler = make_slow(slow, 1)
    for number in (2, 3):
        written = bucket.write(ROOM, frame(number), 6.0)
        assert (written.written, written.queued, written.troubled) == (1, 1, [])
    assert seqs(fast.messages()) == [1, 2, 3]
    bucket.write(OTHER, frame(7, room="s"), 6.0)
    slow.skip(filler)
    slow.connection.attend()
    assert seqs(slow.drain()) == [1, 2, 3, 7]
    assert slow.host.delivered == 4


def test_a_slow_viewer_comes_back_to_the_fast_side(bucket: Bucket, two: list[Viewer]) -> None:
    """Once its outbox is empty a viewer is written to directly again, in every room."""
    slow = two[0]
    join(slow, OTHER)
    slow.raw()
    slow.skip(make_slow(slow, 1))
    slow.connection.attend()
    slow.drain()
    assert slow.connection.outbox is None
    assert (bucket.write(ROOM, frame(2), 0).written, bucket.write(OTHER, frame(3, room="s"), 0).written) == (2, 1)
    assert seqs(slow.messages()) == [2, 3]


def test_a_partly_written_frame_is_completed_first(bucket: Bucket, two: list[Viewer]) -> None:
    """Nothing ever comes between the two parts of a frame: not a reply, not another frame, not a Close."""
    slow = two[0]
    big = frame(1, 60_000, lossy=False)
    written = bucket.write(ROOM, big, 0)
    assert slow.connection in written.troubled
    assert slow.connection.outbox is not None
    assert slow.connection.outbox.waiting == 1
    slow.connection.send(DIALECT.encode_reply(Shed("reply", 1)))
    bucket.write(ROOM, frame(2), 0)
    slow.connection.close(CloseCode.STUCK, "x")
    events = slow.events()
    while slow.is_behind():
        slow.transport.flush()
        events += slow.events()
    assert len(events) == 2
    assert isinstance(events[1], Close)
    assert events[1].code == CloseCode.STUCK
    assert slow.host.shed == {"closed": 1}


def test_a_partly_written_reply_is_completed_first(bucket: Bucket, two: list[Viewer]) -> None:
    """The same for a reply: the rest of it goes before any frame."""
    slow = two[0]
    answer = DIALECT.encode_direct_batch("user", [b'"%b"' % (b"u" * 60_000)])
    assert not bucket.send(slow.connection, answer, 0)
    bucket.write(ROOM, frame(2), 0)
    types = [(m["type"], m["data"].get("to")) for m in slow.drain()]
    assert types == [("PUSH", "user"), ("PUSH", None)]


def test_what_is_shed_is_told_exactly(bucket: Bucket, two: list[Viewer]) -> None:
    """A viewer that reads again gets what was kept, in order, then how many it missed: together everything."""
    slow, fast = two
    filler = make_slow(slow, 1)
    for number in range(2, 21):
        assert bucket.write(ROOM, frame(number, 8_000, count=3), 0).queued >= 1
        fast.drain()
    assert slow.connection.outbox is not None
    assert slow.connection.outbox.size <= 64 * 1024
    slow.skip(filler)
    slow.connection.attend()
    messages = slow.drain()
    kept = seqs(messages)
    assert kept == sorted(kept)
    assert kept[-1] == 20
    (notice,) = [m["data"] for m in messages if m["type"] == "SHED"]
    first_is_kept = 1 in kept
    assert notice == {"room": "r", "count": 3 * (20 - len(kept)) - (0 if first_is_kept else 2)}
    assert messages[-1]["type"] == "SHED"
    assert slow.host.shed == {"slow_viewer": notice["count"]}


def test_too_many_reliable_frames_end_the_viewer(bucket: Bucket, two: list[Viewer]) -> None:
    """When reliable frames overflow the outbox the viewer is handed to the event loop to be closed."""
    slow = two[0]
    make_slow(slow, 1)
    troubled: list[object] = []
    for number in range(2, 12):
        troubled += bucket.write(ROOM, frame(number, 8_000, lossy=False), 0).troubled
    assert slow.connection in troubled
    assert slow.connection.overflowed
    slow.connection.attend()
    assert slow.host.closings == [CloseCode.TOO_SLOW]


def test_a_reliable_frame_larger_than_the_outbox_is_not_lost_silently(bucket: Bucket, two: list[Viewer]) -> None:
    """A full socket and a frame that fits into no outbox: the viewer is closed, and so knows."""
    slow = two[0]
    slow.fill()
    written = bucket.write(ROOM, frame(1, 70_000, lossy=False), 0)
    assert slow.connection in written.troubled
    assert slow.connection.overflowed


def test_replies_that_overflow_end_the_viewer(bucket: Bucket, two: list[Viewer]) -> None:
    """A client that asks and never reads is closed when its answers no longer fit."""
    slow = two[0]
    make_slow(slow, 1)
    for _ in range(70):
        slow.connection.send(b"x" * 1024)
    assert slow.host.closings == [CloseCode.TOO_SLOW]
    assert not slow.connection.is_open


def test_last_word_on_the_fast_side(bucket: Bucket, two: list[Viewer]) -> None:
    """A viewer that keeps up gets the last word at once."""
    assert bucket.last_word(two[0].connection, b"bye", 0) == (True, 0)
    assert two[0].raw() == b"bye"


def test_churn_keeps_the_arrays_right(bucket: Bucket) -> None:
    """Whoever comes, goes, turns slow or fast, in any order: exactly the members get each frame, exactly once."""
    rng = random.Random(7)
    with viewers(bucket, 12, buffer_bytes=SMALL_BUFFER) as made:
        members: set[int] = set()
        for number in range(1, 400):
            index = rng.randrange(12)
            viewer = made[index]
            if index in members and rng.random() < 0.5:
                bucket.leave(viewer.connection, ROOM)
                members.discard(index)
            elif index not in members:
                join(viewer, at=(number - 1, number - 1, 1))
                members.add(index)
            elif viewer.connection.outbox is None:
                viewer.skip(make_slow_reply(viewer))
            for other in made:
                other.transport.flush()
                other.messages()
            bucket.write(ROOM, frame(number), 0)
            for position, other in enumerate(made):
                expected = [number] if position in members else []
                assert seqs(other.drain()) == expected, (number, position)


def make_slow_reply(viewer: Viewer) -> int:
    """Fill a viewer's socket and send a reply that it cannot take."""
    filler = viewer.fill()
    viewer.connection.send(DIALECT.encode_reply(Shed("x", 1)))
    assert viewer.connection.outbox is not None
    return filler

"""The pool of threads: every bucket once, fair turns, results on the event loop, frames of a group in order."""

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack

import pytest
import pytest_asyncio

from gateway.bucket import Bucket, GroupKey
from gateway.fanout import INLINE_BUCKETS, Fanout, Tally
from gateway.outbox import Frame
from protocol.dialect import Joined
from tests.gateway.viewer import DIALECT, Viewer, viewers

ROOM: GroupKey = ("r", "json")
SMALL: GroupKey = ("s", "json")
PATIENCE_S = 10.0


@pytest_asyncio.fixture
async def fanout() -> AsyncIterator[Fanout]:
    """Start a pool of two threads."""
    pool = Fanout(2)
    pool.start()
    yield pool
    pool.stop()


@pytest.fixture
def crowd() -> Iterator[list[Viewer]]:
    """Make a viewer in each of many buckets: more than are written on the event loop."""
    with ExitStack() as stack:
        made = [stack.enter_context(viewers(Bucket(65_536), 1))[0] for _ in range(2 * INLINE_BUCKETS + 8)]
        for viewer in made:
            join(viewer, ROOM)
        yield made


def join(viewer: Viewer, key: GroupKey) -> None:
    """Join a room and read the answer."""
    viewer.connection.bucket.join(viewer.connection, key, (0, 0, 0), lambda *_: DIALECT.encode_reply(Joined("r")))
    viewer.raw()


def frame(number: int, room: str = "r") -> Frame:
    """Make a frame."""
    return Frame(DIALECT.encode_room_batch(room, [b"%d" % number], number, 1), room, 1, True, number, number, 1)


class Results:
    """Collects tallies, and tells when enough have come."""

    def __init__(self, expected: int) -> None:
        self.tallies: list[tuple[str, Tally]] = []
        self.threads: set[int] = set()
        self._expected = expected
        self._enough = asyncio.Event()

    def taker(self, name: str) -> "Taker":
        """Make the callback of one frame."""
        return Taker(self, name)

    def take(self, name: str, tally: Tally) -> None:
        """Note one result."""
        self.tallies.append((name, tally))
        self.threads.add(threading.get_ident())
        if len(self.tallies) == self._expected:
            self._enough.set()

    async def wait(self) -> list[str]:
        """Wait for all results; return their names in the order in which they came."""
        async with asyncio.timeout(PATIENCE_S):
            await self._enough.wait()
        return [name for name, _ in self.tallies]


class Taker:
    """The callback of one frame."""

    def __init__(self, results: Results, name: str) -> None:
        self._results = results
        self._name = name

    def __call__(self, tally: Tally) -> None:
        self._results.take(self._name, tally)


def buckets(crowd: list[Viewer]) -> list[Bucket]:
    """Return the buckets of a crowd."""
    return [viewer.connection.bucket for viewer in crowd]


async def test_every_bucket_once(fanout: Fanout, crowd: list[Viewer]) -> None:
    """A frame reaches every bucket once; its end is heard once, on the event loop's thread."""
    results = Results(1)
    fanout.write(ROOM, frame(1), buckets(crowd), results.taker("one"), 0)
    assert results.tallies == [], "the event loop does not wait"
    await results.wait()
    ((_, tally),) = results.tallies
    assert (tally.written, tally.queued, tally.troubled) == (len(crowd), 0, [])
    assert results.threads == {threading.get_ident()}
    assert [viewer.raw() for viewer in crowd] == [frame(1).data] * len(crowd)


async def test_few_buckets_are_written_on_the_spot(fanout: Fanout, crowd: list[Viewer]) -> None:
    """A small room is written before `write` returns, and so is one without viewers."""
    results = Results(2)
    fanout.write(ROOM, frame(1), buckets(crowd[:INLINE_BUCKETS]), results.taker("few"), 0)
    fanout.write(ROOM, frame(2), [], results.taker("none"), 0)
    assert [(name, tally.written) for name, tally in results.tallies] == [("few", INLINE_BUCKETS), ("none", 0)]


async def test_without_threads_all_is_written_on_the_spot(crowd: list[Viewer]) -> None:
    """A pool of no threads needs neither start nor stop."""
    results = Results(1)
    pool = Fanout(0)
    pool.write(ROOM, frame(1), buckets(crowd), results.taker("all"), 0)
    pool.stop()
    assert [tally.written for _, tally in results.tallies] == [len(crowd)]


async def test_trouble_is_reported(fanout: Fanout, crowd: list[Viewer]) -> None:
    """Dead and full sockets of all buckets come back together."""
    crowd[3].end.close()
    filler = crowd[40].fill()
    results = Results(1)
    fanout.write(ROOM, frame(1), buckets(crowd), results.taker("one"), 0)
    await results.wait()
    ((_, tally),) = results.tallies
    assert set(tally.troubled) == {crowd[3].connection, crowd[40].connection}
    assert (tally.written, tally.queued) == (len(crowd) - 2, 1)
    crowd[40].skip(filler)


async def test_rooms_take_turns(crowd: list[Viewer]) -> None:
    """A later, smaller job ends before a huge one that one thread is at work on: each turn is one bucket."""
    small = crowd[: INLINE_BUCKETS + 1]
    for viewer in small:
        join(viewer, SMALL)
    results = Results(2)
    pool = Fanout(1)
    pool.start()
    with crowd[-1].connection.bucket.lock:
        pool.write(ROOM, frame(1), buckets(crowd), results.taker("huge"), 0)
        pool.write(SMALL, frame(1, "s"), buckets(small), results.taker("small"), 0)
    assert await results.wait() == ["small", "huge"]
    pool.stop()


async def test_a_stuck_bucket_holds_up_one_thread_only(fanout: Fanout, crowd: list[Viewer]) -> None:
    """While one thread waits for a bucket's lock the other goes on with everything else."""
    small = crowd[: INLINE_BUCKETS + 1]
    for viewer in small:
        join(viewer, SMALL)
    done, rest = Results(1), Results(1)
    with crowd[-1].connection.bucket.lock:
        fanout.write(ROOM, frame(1), buckets(crowd), rest.taker("huge"), 0)
        fanout.write(SMALL, frame(1, "s"), buckets(small), done.taker("small"), 0)
        assert await done.wait() == ["small"]
        assert rest.tallies == []
    assert await rest.wait() == ["huge"]


async def test_frames_of_a_group_keep_their_order(fanout: Fanout, crowd: list[Viewer]) -> None:
    """While a frame of a group is being written its next ones wait, small or large, and leave in order."""
    results = Results(4)
    blocked = crowd[0].connection.bucket
    with blocked.lock:
        fanout.write(ROOM, frame(1), buckets(crowd), results.taker("1"), 0)
        fanout.write(ROOM, frame(2), buckets(crowd[-3:]), results.taker("2"), 0)
        fanout.write(ROOM, frame(3), buckets(crowd), results.taker("3"), 0)
        fanout.write(ROOM, frame(4), buckets(crowd[-3:]), results.taker("4"), 0)
        assert results.tallies == []
    assert await results.wait() == ["1", "2", "3", "4"]
    assert crowd[-1].raw() == b"".join(frame(number).data for number in (1, 2, 3, 4))
    assert crowd[1].raw() == frame(1).data + frame(3).data
    assert repr(fanout) == "<Fanout threads=2 jobs=0>"


async def test_many_frames_and_many_groups(fanout: Fanout, crowd: list[Viewer]) -> None:
    """Under load every group's frames arrive complete and in order at every viewer."""
    for viewer in crowd:
        join(viewer, SMALL)
    results = Results(200)
    for number in range(1, 101):
        fanout.write(ROOM, frame(number), buckets(crowd), results.taker("r"), 0)
        fanout.write(SMALL, frame(number, "s"), buckets(crowd), results.taker("s"), 0)
    await results.wait()
    for viewer in crowd:
        messages = viewer.messages()
        for room in ("r", "s"):
            assert [m["data"]["seq"] for m in messages if m["data"]["room"] == room] == list(range(1, 101))

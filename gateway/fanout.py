"""Writing frames to buckets from a pool of threads, so that the event loop never waits for a huge room.

System calls release the GIL, so threads write in parallel on several cores. Jobs take turns, a bucket each, so a
room of a thousand is not stuck behind a room of a million. A room with few viewers is written on the spot: handing
it to a thread would cost more than the writes. Frames of one group are written in the order in which they are given,
one after the other.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from threading import Condition, Thread
from typing import TYPE_CHECKING, Final

from gateway.bucket import Bucket, GroupKey, Written
from gateway.outbox import Frame

if TYPE_CHECKING:
    from gateway.connection import Connection

INLINE_BUCKETS: Final = 32
"""Up to so many buckets are written on the event loop: about as long as handing them to a thread and back takes."""


class Tally:
    """What became of a frame over all buckets. `troubled` connections need the event loop's care."""

    __slots__ = ("queued", "troubled", "written")

    def __init__(self) -> None:
        self.written = 0
        self.queued = 0
        self.troubled: list[Connection] = []

    def add(self, part: Written) -> None:
        """Add one bucket's result."""
        self.written += part.written
        self.queued += part.queued
        self.troubled += part.troubled


class _Job:
    __slots__ = ("buckets", "done", "frame", "key", "left", "now", "tally")

    def __init__(
        self, key: GroupKey, frame: Frame, buckets: Sequence[Bucket], done: Callable[[Tally], None], now: float
    ) -> None:
        self.key = key
        self.frame = frame
        self.buckets = list(buckets)
        self.left = len(buckets)
        self.done = done
        self.now = now
        self.tally = Tally()


class Fanout:
    """The pool. Start it inside the event loop whose thread is to hear of results."""

    def __init__(self, threads: int) -> None:
        self._threads = [Thread(target=self._work, name=f"fanout-{n}", daemon=True) for n in range(threads)]
        self._jobs: deque[_Job] = deque()
        # Jobs that wait for one of the same group, by group; event loop only.
        self._lines: dict[GroupKey, deque[_Job]] = {}
        self._wake = Condition()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<Fanout threads={len(self._threads)} jobs={len(self._jobs)}>"

    def start(self) -> None:
        """Start the threads."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Let the threads finish the bucket they are at, and end them."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()

    def write(
        self, key: GroupKey, frame: Frame, buckets: Sequence[Bucket], done: Callable[[Tally], None], now: float
    ) -> None:
        """Write a frame to the group `key` of each bucket; `done` is called on the event loop, once, maybe at once."""
        job = _Job(key, frame, buckets, done, now)
        line = self._lines.get(key)
        if line is None:
            self._begin(job)
        else:
            line.append(job)

    def _begin(self, job: _Job) -> bool:
        """Write a frame, or have it written: True when its end is still to come."""
        if len(job.buckets) <= INLINE_BUCKETS or not self._threads:
            for bucket in job.buckets:
                job.tally.add(bucket.write(job.key, job.frame, job.now))
            job.done(job.tally)
            return False
        self._lines.setdefault(job.key, deque())
        with self._wake:
            self._jobs.append(job)
            self._wake.notify(len(self._threads))
        return True

    def _finished(self, job: _Job) -> None:
        job.done(job.tally)
        line = self._lines[job.key]
        while line:
            if self._begin(line.popleft()):
                return
        del self._lines[job.key]

    def _work(self) -> None:
        while (turn := self._next_bucket()) is not None:
            job, bucket = turn
            part = bucket.write(job.key, job.frame, job.now)
            with self._wake:
                job.tally.add(part)
                job.left -= 1
                finished = job.left == 0
            if finished:
                assert self._loop is not None, "started"
                self._loop.call_soon_threadsafe(self._finished, job)

    def _next_bucket(self) -> tuple[_Job, Bucket] | None:
        with self._wake:
            while not self._jobs and not self._stopping:
                self._wake.wait()
            if self._stopping:
                return None
            job = self._jobs.popleft()
            bucket = job.buckets.pop()
            if job.buckets:
                self._jobs.append(job)
            return job, bucket

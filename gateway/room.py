"""One room on one gateway: order, batch, tick, and the frames on their way to the buckets. Event loop only."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count

from gateway.batch import Batch, PendingBatch
from gateway.bucket import Bucket, GroupKey
from gateway.fanout import Fanout, Tally
from gateway.metrics import Counters
from gateway.ordering import Ready, RoomOrder
from gateway.outbox import Frame
from protocol.dialect import Dialect, Online, Shed
from protocol.envelope import RoomPush, decode_block
from protocol.errors import RemoteProtocolError

EARLY_MAX_MESSAGES = 5_000
"""Messages kept while the room's position is being read from Redis."""


@dataclass(frozen=True, slots=True)
class RoomSurroundings:
    """What every room of a gateway shares.

    `numbers` gives every frame of every room its number: a room that was dropped and made anew goes on above its last
    frame, which may still be on its way. `gaps` are the rooms that wait for a missing message.
    """

    loop: asyncio.AbstractEventLoop
    fanout: Fanout
    dialects: Mapping[str, Dialect]
    counters: Counters
    tick_s: float
    attend: Callable[[Tally], None]
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    gaps: set["Room"] = field(default_factory=set)


class Room:
    """A room that has viewers here.

    A quiet room's first message leaves at the end of the event-loop turn in which it came, with what came along;
    after that one frame leaves per tick. While a frame is still being written the next waits and merges on: under
    overload the tick stretches before anything is shed.
    """

    def __init__(self, name: str, around: RoomSurroundings) -> None:
        self.name = name
        self.order: RoomOrder | None = None
        self.early: list[RoomPush] = []
        self.viewers = 0
        self.online = 0
        self.number = next(around.numbers)
        self.seq = 0
        self.epoch = 0
        self.homes: dict[str, set[Bucket]] = {}
        self._around = around
        self._pending = PendingBatch()
        self._shed = 0
        self._tell_online = False
        self._tick: asyncio.Handle | None = None
        self._frames: deque[list[tuple[GroupKey, Frame]]] = deque()
        self._writing = 0

    def __repr__(self) -> str:
        return f"<Room {self.name} viewers={self.viewers} seq={self.seq} pending={len(self._pending)}>"

    # -- what comes in

    def place(self, order: RoomOrder) -> None:
        """Set the position, once it is known, and take what came in the meantime."""
        self.order = order
        self.seq, self.epoch = max(order.next_seq - 1, 0), order.epoch
        early, self.early = self.early, []
        for push in early:
            self.receive(push)

    def receive(self, push: RoomPush) -> None:
        """Take one copy of a push from either path."""
        if self.order is None:
            if sum(item.count for item in self.early) < EARLY_MAX_MESSAGES:
                self.early.append(push)
            return
        duplicates = self.order.duplicates
        lost = self.order.lost
        self._add(self.order.accept(push, self._around.loop.time()))
        if self.order.waiting:
            self._around.gaps.add(self)
        self._around.counters.messages_duplicate += self.order.duplicates - duplicates
        self._around.counters.messages_missing += self.order.lost - lost

    def expire_gap(self) -> None:
        """Give up on messages that have been missing for too long."""
        if self.order is not None and self.order.waiting:
            lost = self.order.lost
            self._add(self.order.expire(self._around.loop.time()))
            self._around.counters.messages_missing += self.order.lost - lost
        if self.order is None or not self.order.waiting:
            self._around.gaps.discard(self)

    def set_online(self, count: int) -> None:
        """Tell the viewers how many they are over all gateways, with the next frame."""
        if count != self.online:
            self.online = count
            self._tell_online = True
            self._schedule()

    def _add(self, ready: Iterable[Ready]) -> None:
        counters = self._around.counters
        for push, skip in ready:
            try:
                messages = decode_block(push.block, push.count)[skip:]
            except RemoteProtocolError:
                # Its place in the order is taken; what is behind it must not suffer.
                counters.messages_malformed += push.count - skip
                continue
            shed = self._pending.add(messages, push.first_seq + skip, push.epoch)
            counters.messages_batched += len(messages) - shed
            if shed:
                self._shed += shed
                counters.count(counters.shed, "overload", shed * self.viewers)
        if self._pending:
            self._schedule()

    # -- what goes out

    def _schedule(self) -> None:
        if self._tick is None and not self._writing:
            self._tick = self._around.loop.call_soon(self._ticked)

    def _ticked(self) -> None:
        """A tick is over (or there was none): send what is pending, or fall quiet."""
        self._tick = None
        if self._writing:
            return
        if not (self._pending or self._shed or self._tell_online):
            return
        if self._pending:
            # A notice alone starts no tick: the first message of a quiet room must not wait for a viewer count.
            self._tick = self._around.loop.call_later(self._around.tick_s, self._ticked)
        self._frames.extend(self._encode(batch) for batch in self._batches())
        self._write_next()

    def _batches(self) -> list[Batch]:
        # Notices alone still need a frame to travel in.
        return self._pending.take() or [Batch([], self.seq, self.epoch, True)]

    def _encode(self, batch: Batch) -> list[tuple[GroupKey, Frame]]:
        self.number = next(self._around.numbers)
        self.seq, self.epoch = batch.seq, batch.epoch
        frames: list[tuple[GroupKey, Frame]] = []
        for name, homes in self.homes.items():
            if homes:
                dialect = self._around.dialects[name]
                data = self._notices(dialect)
                if batch.items:
                    data = dialect.encode_room_batch(self.name, batch.items, batch.seq, batch.epoch) + data
                frame = Frame(data, self.name, len(batch.items), batch.lossy, self.number, batch.seq, batch.epoch)
                frames.append(((self.name, name), frame))
                self._around.counters.frames_encoded += 1
        self._shed, self._tell_online = 0, False
        return frames

    def _notices(self, dialect: Dialect) -> bytes:
        data = b""
        if self._shed:
            data += dialect.encode_reply(Shed(self.name, self._shed))
        if self._tell_online:
            data += dialect.encode_reply(Online(self.name, self.online))
        return data

    def _write_next(self) -> None:
        while self._frames and not self._writing:
            frames = self._frames.popleft()
            # One is ours, so that frames which are written at once do not call this again.
            self._writing = len(frames) + 1
            for key, frame in frames:
                homes = [bucket for bucket in self.homes[key[1]] if bucket.holds(key)]
                self._around.fanout.write(key, frame, homes, self._written(frame), self._around.loop.time())
            self._writing -= 1

    def _written(self, frame: Frame) -> Callable[[Tally], None]:
        def done(tally: Tally) -> None:
            counters = self._around.counters
            counters.frames_written += tally.written
            counters.frames_queued += tally.queued
            counters.bytes_written += tally.written * len(frame.data)
            counters.deliveries += tally.written * frame.count
            self._around.attend(tally)
            self._writing -= 1
            if not self._writing and self._frames:
                self._write_next()
            elif not self._writing and self._tick is None and (self._pending or self._tell_online):
                self._tick = self._around.loop.call_soon(self._ticked)

        return done

    def close(self) -> int:
        """Forget the room when its last viewer has left; returns the messages nobody was there for."""
        self._around.gaps.discard(self)
        if self._tick is not None:
            self._tick.cancel()
            self._tick = None
        self._around.gaps.discard(self)
        unheard = sum(batch.count for (_, batch), *_ in self._frames) + len(self._pending)
        self._frames.clear()
        self._pending.take()
        return unheard

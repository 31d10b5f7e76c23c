"""The publisher: gives pushes their place through Redis and sends them on both paths.

A push waits in a lane, chosen by its partition, until the lane's previous round trip is over. Then everything that
waits goes in one pipeline: what is merged, and how, is `logic.plan`. One round trip a lane and a fixed lane a room
mean that nothing of one room overtakes; several lanes mean that Redis works while this process encodes.

With the answers the envelopes go on every link, as one write a link, and the lane is free again: acknowledgements are
awaited beside it, with one timer a flush.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from redis.asyncio import Redis

from logic.calls import DirectCall, Outcome, Published, RoomCall
from logic.delivery import Delivery
from logic.links import Links
from logic.metrics import LogicMetrics
from logic.model import (
    DirectPushRequest,
    IdempotencyConflict,
    Reach,
    Receipt,
    RoomPushRequest,
    Unavailable,
)
from logic.plan import Accepted, Call, plan
from protocol.envelope import encode_block
from protocol.errors import LocalProtocolError
from protocol.limits import PUSH_MAX_BYTES, PUSH_MAX_MESSAGES
from runtime.lifecycle import Background
from runtime.logs import get_logger
from runtime.redis import RedisError, RedisRejected, run_many, supports_sharded_pubsub

FLUSH_MAX_PUSHES: Final = 1_000
"""Pushes of as many rooms keep Redis busy for about 15 ms, the longest that one lane should make another wait."""

FLUSH_MAX_BYTES: Final = 1024 * 1024
"""A flush is at most this and one push more, well below what a link's queue may hold."""

_LOG: Final = get_logger("logic.publisher")
_UNCERTAIN: Final = "it may or may not have been published, repeat it with an Idempotency-Key"
_NOT_SENT: Final = "it was not published"


@dataclass(frozen=True, slots=True)
class PublisherOptions:
    """How pushes travel. `instance` is this process's number, of 63 bits and new with every start: with a counter it
    tells direct pushes apart.

    `ack_timeout_s` is how long a push waits for gateways to say that they have it.
    `over_redis`, `over_links`: the paths; at least one. `lanes`: round trips to Redis at once. `pending_messages` and
    `pending_bytes` bound what waits for Redis; beyond either a push is refused at once.
    """

    instance: int
    over_redis: bool = True
    over_links: bool = True
    ack_timeout_s: float = 1.0
    lanes: int = 2
    pending_messages: int = 100_000
    pending_bytes: int = 64 * 1024 * 1024


class _Lane:
    """Pushes that wait for one another."""

    __slots__ = ("pending", "wake")

    def __init__(self) -> None:
        self.pending: deque[Accepted] = deque()
        self.wake = asyncio.Event()

    def take(self) -> list[Accepted]:
        """Remove and return what the next flush carries; at least one push."""
        pending = self.pending
        taken = [pending.popleft()]
        size = len(taken[0].block)
        while pending and len(taken) < FLUSH_MAX_PUSHES and size < FLUSH_MAX_BYTES:
            push = pending.popleft()
            size += len(push.block)
            taken.append(push)
        return taken


_Planned = RoomCall | DirectCall


class Publisher:
    """Implements `logic.model.Publishing`. See the module for how, and `Receipt` for what callers get."""

    def __init__(
        self,
        client: Redis,
        links: Links,
        options: PublisherOptions,
        metrics: LogicMetrics,
        now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._client = client
        self._links = links
        self._options = options
        self._metrics = metrics
        self._tally = metrics.tally
        self._now_ms = now_ms
        self._counter = 0
        # PUBLISH or SPUBLISH; None until the server was asked, and again after it was lost: it may be another one.
        self._command: str | None = None if options.over_redis else ""
        self._lanes = [_Lane() for _ in range(options.lanes)]
        self._tasks: list[asyncio.Task[None]] = []
        self._deliveries: set[Delivery] = set()
        self._settled = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self.waiting_messages = 0
        self.waiting_bytes = 0

    def __repr__(self) -> str:
        state = "closed" if self._closed else "open"
        return f"<Publisher {state} waiting={self.waiting_messages} deliveries={len(self._deliveries)}>"

    @property
    def queued(self) -> int:
        """How many pushes wait for their flush: not sent to Redis yet."""
        return sum(len(lane.pending) for lane in self._lanes)

    # Life.

    def start(self, background: Background) -> None:
        """Begin to flush."""
        self._tasks = [
            background.spawn(self._run(lane), f"publisher lane {number}") for number, lane in enumerate(self._lanes)
        ]

    async def stop(self) -> None:
        """Take no more pushes, and return once all that were taken have their outcome."""
        self._closed = True
        for lane in self._lanes:
            lane.wake.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        while self._deliveries:
            self._settled.clear()
            await self._settled.wait()

    # Taking pushes.

    def submit(self, push: RoomPushRequest | DirectPushRequest) -> "asyncio.Future[Receipt]":
        """See `Publishing.submit`."""
        future: asyncio.Future[Receipt] = self._loop.create_future()
        try:
            block = encode_block(push.messages)
            self._check(push, len(block))
        except (Unavailable, LocalProtocolError) as error:
            self._tally.pushes_unavailable += 1
            future.set_exception(error)
            return future
        room, user = (push.room, None) if isinstance(push, RoomPushRequest) else (None, push.user)
        accepted = Accepted(room, user, block, len(push.messages), push.idempotency, future)
        self._tally.pushes_accepted += 1
        self.waiting_messages += accepted.count
        self.waiting_bytes += len(block)
        lane = self._lanes[accepted.partition % len(self._lanes)]
        lane.pending.append(accepted)
        lane.wake.set()
        return future

    async def publish(self, push: RoomPushRequest | DirectPushRequest) -> Receipt:
        """See `Publishing.publish`."""
        return await self.submit(push)

    def _check(self, push: RoomPushRequest | DirectPushRequest, size: int) -> None:
        count = len(push.messages)
        # The API has told the publisher already; this keeps our own mistakes out of Redis.
        if not 1 <= count <= PUSH_MAX_MESSAGES or size > PUSH_MAX_BYTES + 5 * count:
            raise LocalProtocolError(f"a push of {count} messages and {size} bytes is outside the limits")
        if self._closed:
            raise Unavailable("this logic is stopping")
        options = self._options
        if (
            self.waiting_messages + count > options.pending_messages
            or self.waiting_bytes + size > options.pending_bytes
        ):
            raise Unavailable(f"{self.waiting_messages} messages are waiting for Redis, {_NOT_SENT}")

    # Flushing.

    async def _run(self, lane: _Lane) -> None:
        # Until told, rather than until cancelled: whatever was taken gets its outcome.
        while lane.pending or not self._closed:
            if not lane.pending:
                lane.wake.clear()
                await lane.wake.wait()
                continue
            taken = lane.take()
            try:
                await self._flush(taken)
            except RedisError as error:
                self._lost_redis(lane, taken, str(error))
            except BaseException as error:
                self._refuse(taken, f"{error!r}; {_UNCERTAIN}")
                raise
            finally:
                self.waiting_messages -= sum(push.count for push in taken)
                self.waiting_bytes -= sum(len(push.block) for push in taken)

    async def _flush(self, taken: Sequence[Accepted]) -> None:
        if self._command is None:
            self._command = "SPUBLISH" if await supports_sharded_pubsub(self._client) else "PUBLISH"
        command, now_ms = self._command, self._now_ms()
        planned = [self._prepare(call, now_ms) for call in plan(taken)]
        began = self._loop.time()
        answers = await run_many(self._client, [item.script_call(command) for item in planned])
        self._metrics.flush_seconds.observe(self._loop.time() - began)
        self._metrics.flush_messages.observe(sum(push.count for push in taken))
        self._tally.flushes += 1
        done = [
            (item.call, item.published(cast("Any", answer)))
            for item, answer in zip(planned, answers, strict=True)
            if not isinstance(answer, RedisRejected)
        ]
        if len(done) < len(planned):
            self._rejected(
                [
                    (item.call, answer)
                    for item, answer in zip(planned, answers, strict=True)
                    if isinstance(answer, RedisRejected)
                ]
            )
        self._forward(done)

    def _prepare(self, call: Call, now_ms: int) -> _Planned:
        if call.first.room is not None:
            return RoomCall(call, now_ms)
        self._counter += 1
        return DirectCall(call, now_ms, self._options.instance, self._counter)

    # Sending, and telling what became of it.

    def _forward(self, done: Sequence[tuple[Call, Published]]) -> None:
        """Put the envelopes on the links; settle each call when the gateways have answered, or the time is up."""
        for call, published in done:
            if published.outcome is Outcome.CONFLICT:
                self._conflict(call.first)
        sent = [item for item in done if item[1].outcome is not Outcome.CONFLICT]
        if not sent:
            return
        delivery = Delivery(lambda acknowledgements: self._settle(sent, delivery, timer, acknowledgements))
        self._deliveries.add(delivery)
        timer = self._loop.call_later(self._options.ack_timeout_s, delivery.expire)
        if self._options.over_links:
            # Replays too: perhaps this process, or another, died between Redis and the links. Gateways drop copies.
            self._tally.envelopes_forwarded += len(sent)
            self._links.push(b"".join([published.envelope for _, published in sent]), len(sent), delivery)
        else:
            delivery.sealed()

    def _settle(
        self,
        sent: Sequence[tuple[Call, Published]],
        delivery: Delivery,
        timer: asyncio.TimerHandle,
        acknowledgements: int,
    ) -> None:
        timer.cancel()
        self._deliveries.discard(delivery)
        self._settled.set()
        known = self._links.known
        for call, published in sent:
            reached = min(known, max(acknowledgements, published.receivers))
            self._tell(call, published, Reach(reached, known - reached))

    def _tell(self, call: Call, published: Published, reach: Reach) -> None:
        """Share the call's sequences out among its pushes, in order."""
        tally, epoch = self._tally, published.epoch
        replayed = published.outcome is Outcome.REPLAYED
        if replayed:
            tally.pushes_replayed += len(call.pushes)
        else:
            tally.pushes_published += len(call.pushes)
            tally.messages_published += call.count
        first = published.first_seq
        for push in call.pushes:
            count = push.count
            last = first + count - 1 if epoch else 0
            if not push.future.done():
                push.future.set_result(Receipt(count, reach, first, last, epoch, replayed))
            if epoch:
                first += count

    # What goes wrong.

    def _conflict(self, push: Accepted) -> None:
        self._tally.pushes_conflicting += 1
        if not push.future.done():
            push.future.set_exception(IdempotencyConflict("the idempotency key was used for another push"))

    def _rejected(self, rejected: Sequence[tuple[Call, RedisRejected]]) -> None:
        self._tally.redis_failures += 1
        _LOG.error("Redis refused pushes", calls=len(rejected), reason=str(rejected[0][1]))
        for call, answer in rejected:
            # What is temporary (starting, read-only, out of memory) is refused at the script's first write.
            fate = _NOT_SENT if answer.temporary else _UNCERTAIN
            self._refuse(call.pushes, f"Redis refused it ({answer.code}); {fate}")

    def _lost_redis(self, lane: _Lane, taken: Sequence[Accepted], reason: str) -> None:
        """Fail the flush, and what waits behind it: it would wait for the next time-out just to hear the same."""
        self._tally.redis_failures += 1
        _LOG.warning("Redis is unavailable", reason=reason, pushes=len(taken), waiting=len(lane.pending))
        if self._options.over_redis:
            self._command = None
        self._refuse(taken, f"Redis did not answer ({reason}); {_UNCERTAIN}")
        waiting = list(lane.pending)
        lane.pending.clear()
        self.waiting_messages -= sum(push.count for push in waiting)
        self.waiting_bytes -= sum(len(push.block) for push in waiting)
        self._refuse(waiting, f"Redis did not answer ({reason}); {_NOT_SENT}")

    def _refuse(self, pushes: Sequence[Accepted], reason: str) -> None:
        self._tally.pushes_unavailable += len(pushes)
        for push in pushes:
            if not push.future.done():
                push.future.set_exception(Unavailable(reason))

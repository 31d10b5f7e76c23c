"""A subscription to a fixed set of channels that mends itself.

redis-py opens the connection (address, TLS, authentication); after that this module reads the socket
itself, a chunk at a time through the hiredis parser, and hands over every message of the chunk in one go.
Why not redis-py's own PubSub: it switches tasks for every message, this costs 2 µs (see README).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import ResponseError

from runtime.backoff import Backoff
from runtime.logs import get_logger
from runtime.redis.client import ANSWER_TIMEOUT_S, CONNECTION_OPTIONS, knows_command
from runtime.redis.errors import RedisError, RedisUnavailable, redis_errors, rejected

# Silence after which the connection is tried with PING; as long again without an answer and it is dead.
PING_S = 3.0
# How much is read, and so parsed and handed over without a pause, at a time.
CHUNK_BYTES = 65_536
BACKOFF_INITIAL_S = 0.1
BACKOFF_MAXIMUM_S = 5.0


@dataclass(frozen=True, slots=True)
class SubscriberOptions:
    """What rarely needs changing. Times in seconds; `client_name` is what `CLIENT LIST` shows."""

    client_name: str = "subscriber"
    ping_s: float = PING_S
    backoff_initial_s: float = BACKOFF_INITIAL_S
    backoff_maximum_s: float = BACKOFF_MAXIMUM_S


class Subscriber:
    """Stays subscribed to `channels` until stopped, whatever happens to Redis.

    * `on_message(channel, payload)` is called in the event loop for every message, in order. It must be
      quick; an exception from it is logged and the next message follows.
    * `on_state(True)` once every channel's subscription is confirmed; `on_state(False)` when it is lost.
      The two alternate, True first. Messages published while the state is False are gone: pub/sub has
      no memory, so True after False is the moment to fetch what was missed. A message may come before
      the True of its connection, from a channel that was confirmed early.
    * `sharded`: use SSUBSCRIBE; None asks the server at each connection.

    `losses` counts how often an established subscription was lost.
    """

    def __init__(
        self,
        url: str,
        channels: Sequence[str],
        *,
        on_message: Callable[[str, bytes], None],
        on_state: Callable[[bool], None],
        sharded: bool | None = None,
        options: SubscriberOptions = SubscriberOptions(),
    ) -> None:
        if not channels:
            raise ValueError("a subscription needs at least one channel")
        # RESP2, because there PING may be sent on a subscribed connection of any version and its answer
        # comes in order with the messages, on the path that is being tested.
        self._pool = ConnectionPool.from_url(url, client_name=options.client_name, protocol=2, **CONNECTION_OPTIONS)
        self._names = {channel.encode(): channel for channel in channels}
        self._on_message = on_message
        self._on_state = on_state
        self._sharded = sharded
        self._ping_s = options.ping_s
        self._backoff = Backoff(options.backoff_initial_s, options.backoff_maximum_s, Random())
        self._logger = get_logger("subscriber")
        self._task: asyncio.Task[None] | None = None
        self._missing: set[bytes] = set()
        self.subscribed = False
        self.losses = 0

    def __repr__(self) -> str:
        return f"<Subscriber channels={len(self._names)} subscribed={self.subscribed} losses={self.losses}>"

    async def start(self) -> None:
        """Begin; returns at once, whether Redis is there or not. `on_state` tells when it is."""
        self._task = asyncio.get_running_loop().create_task(self._keep(), name="redis-subscriber")

    async def stop(self) -> None:
        """End the subscription; `on_state(False)` follows if it was up. Harmless when not started."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            try:
                with redis_errors():
                    await self._follow(connection)
            except RedisError as error:
                # Only the first failure of a row is worth a warning; while Redis is away the rest says nothing new.
                self.losses += self.subscribed
                log = self._logger.warning if self.subscribed else self._logger.info
                log("subscription lost" if self.subscribed else "cannot subscribe", reason=str(error))
            except Exception:
                # A bug of ours must not silence the subscription for good.
                self._logger.exception("subscriber failed")
            finally:
                self._lost()
                await connection.disconnect(nowait=True)
            await asyncio.sleep(self._backoff.next_delay())

    async def _follow(self, connection: AbstractConnection) -> None:
        """Connect, subscribe, and hand over messages until the connection ends, which raises."""
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await connection.connect()  # type: ignore[no-untyped-call]
            sharded = await self._use_sharded(connection)
            self._missing = set(self._names)
            await connection.send_command("SSUBSCRIBE" if sharded else "SUBSCRIBE", *self._names)
        # The one private name of redis-py that is used here; it has no public one.
        stream = connection._reader
        assert stream is not None, "connect() returned"
        parser = hiredis.Reader()
        pinged = False
        while True:
            try:
                async with asyncio.timeout(self._ping_s):
                    chunk = await stream.read(CHUNK_BYTES)
            except TimeoutError:
                if pinged or self._missing:
                    raise RedisUnavailable(f"no answer within {self._ping_s} s") from None
                async with asyncio.timeout(self._ping_s):
                    await connection.send_command("PING", check_health=False)
                pinged = True
                continue
            if not chunk:
                raise RedisUnavailable("connection closed by the server")
            # Whatever arrives is a sign of life: a busy connection is never pinged.
            pinged = False
            parser.feed(chunk)
            self._hand_over(parser)

    async def _use_sharded(self, connection: AbstractConnection) -> bool:
        if self._sharded is not None:
            return self._sharded
        await connection.send_command("COMMAND", "INFO", "SPUBLISH")
        try:
            return knows_command(await connection.read_response())
        except ResponseError:
            # Not allowed to ask: the publisher, who asks the same way, concludes the same.
            return False

    def _hand_over(self, parser: hiredis.Reader) -> None:
        on_message, names = self._on_message, self._names
        while (reply := parser.gets()) is not False:
            if isinstance(reply, list) and len(reply) == 3 and reply[0] in _MESSAGE:
                try:
                    on_message(names[reply[1]], reply[2])
                except Exception as error:
                    self._logger.exception("message handler failed", error=repr(error))
            else:
                self._other(reply)

    def _other(self, reply: Any) -> None:
        """Take a confirmation, an answer to PING, or bad news."""
        if isinstance(reply, Exception):
            raise rejected(reply)
        kind = reply[0] if isinstance(reply, list) else reply
        if kind in _SUBSCRIBED:
            self._missing.discard(reply[1])
            if not self._missing and not self.subscribed:
                self._established()
        elif kind in _UNSUBSCRIBED:
            # We never ask for it: a cluster moved the channel's slot away.
            raise RedisUnavailable(f"the server ended the subscription to {self._names.get(reply[1])}")

    def _established(self) -> None:
        self._backoff.reset()
        self.subscribed = True
        self._logger.info("subscribed", channels=len(self._names))
        self._tell(True)

    def _lost(self) -> None:
        if self.subscribed:
            self.subscribed = False
            self._tell(False)

    def _tell(self, state: bool) -> None:
        try:
            self._on_state(state)
        except Exception as error:
            self._logger.exception("state handler failed", error=repr(error))


_MESSAGE = frozenset((b"message", b"smessage"))
_SUBSCRIBED = frozenset((b"subscribe", b"ssubscribe"))
_UNSUBSCRIBED = frozenset((b"unsubscribe", b"sunsubscribe"))

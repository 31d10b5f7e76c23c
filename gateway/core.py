"""The gateway's heart: connections come from the listener, pushes from the paths, and they meet in the hub.

This is what a test or a benchmark embeds; `app.py` puts ports, Redis and the process around it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import Final

from gateway.bucket import Bucket
from gateway.commands import Commands
from gateway.connection import Connection
from gateway.fanout import Fanout, Tally
from gateway.hub import Hub, ReadPosition
from gateway.identity import TokenVerifier
from gateway.metrics import Counters
from gateway.presence import Presence
from gateway.room import RoomSurroundings
from gateway.settings import GatewaySettings
from gateway.sweep import Patience, Sweep, unique_dialects
from gateway.upstream import Upstream
from protocol.codes import CloseCode
from protocol.dialect import CommandError, Dialect, Error, GoAway
from protocol.json_dialect import JsonDialect
from protocol.websocket.http_head import RequestHead

CLOCK_S: Final = 0.1
"""How often the coarse clock is set and the sweep moves on."""

ABNORMAL: Final = 1006
"""The close code of a connection that ended without a Close frame (RFC 6455, section 7.4.1)."""

DRAIN_SHARE: Final = 0.8
"""The part of the drain window in which viewers are sent away; the rest is for the last ones to go."""

RECONNECT_JITTER_MS: Final = 1_000
"""Viewers of one bucket come back spread over a second."""

_JSON: Final = JsonDialect()
DIALECTS: Final[Mapping[str, Dialect]] = {"/ws": _JSON, "/connect": _JSON}
"""Client wire formats by path."""


class Gateway:
    """Connections, rooms and what connects them. Lives in one event loop."""

    def __init__(self, settings: GatewaySettings, read_position: ReadPosition) -> None:
        loop = asyncio.get_running_loop()
        self._loop = loop
        self._settings = settings
        self.now = loop.time()
        self.draining = False
        self.counters = Counters()
        self.fanout = Fanout(settings.fanout_threads)
        dialects = unique_dialects(DIALECTS)
        buckets = [Bucket(settings.outbox_bytes) for _ in range(settings.buckets)]
        around = RoomSurroundings(loop, self.fanout, dialects, self.counters, settings.tick_ms / 1000, self._attend)
        self.hub = Hub(buckets, around, read_position)
        self.upstream = Upstream(loop.time)
        self.presence = Presence(self.hub, loop.time)
        secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else None
        verifier = TokenVerifier(secret, settings.jwt_public_key)
        self._commands = Commands(self.hub, verifier, self.upstream, self.counters, anonymous=settings.anonymous)
        patience = Patience(settings.ping_seconds, settings.idle_seconds, settings.stuck_seconds)
        self._sweep = Sweep(buckets, dialects.values(), patience)
        self._dialects = dialects
        self._rng = Random()
        self._empty = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Gateway {self.hub!r} draining={self.draining}>"

    # -- the clock

    def tick(self) -> None:
        """Set the coarse clock and do what is due by it; call every `CLOCK_S`."""
        before, self.now = self.now, self._loop.time()
        self._sweep.step(self.now, self.now - before)
        self.hub.expire_gaps()

    # -- what the listener asks

    def welcome(self, transport: asyncio.Transport, dialect: Dialect, head: RequestHead, response: bytes) -> Connection:
        """Make the connection of a client whose upgrade is accepted."""
        descriptor = transport.get_extra_info("socket").fileno()
        connection = Connection(self, transport, self.hub.assign_bucket(), dialect, descriptor)
        self.counters.connections_opened += 1
        # All bytes take the same way from the first on: what the transport has queued would be overtaken.
        connection.send(response)
        self.hub.enter(connection)
        token = head.query.get("token")
        if token is not None:
            self._authenticate(connection, token)
        return connection

    def handshake_refused(self, status: int) -> None:
        """Count a client that got an HTTP error instead of a WebSocket."""
        refused = self.counters.handshakes_refused
        refused[status] = refused.get(status, 0) + 1

    def _authenticate(self, connection: Connection, token: str) -> None:
        try:
            self._commands.authenticate(connection, token)
        except CommandError as error:
            connection.send(connection.dialect.encode_reply(Error(error.code, str(error))))
            connection.close(CloseCode.TOKEN_INVALID, str(error))

    # -- what connections say

    def command_received(self, connection: Connection, payload: bytes) -> None:
        """Carry out one client message."""
        self._commands.receive(connection, payload)

    def connection_closing(self, connection: Connection, code: int) -> None:
        """Take a connection out of its rooms and give it a deadline."""
        closed = self.counters.connections_closed
        closed[code] = closed.get(code, 0) + 1
        self.hub.withdraw(connection)
        self._sweep.closing(connection, self.now)

    def connection_lost(self, connection: Connection) -> None:
        """Take a connection out of everything."""
        if not self._sweep.closed(connection):
            closed = self.counters.connections_closed
            closed[ABNORMAL] = closed.get(ABNORMAL, 0) + 1
        self.hub.remove(connection)
        if self.draining and not self.hub.connections:
            self._empty.set()

    def messages_delivered(self, count: int) -> None:
        """Count what slow connections took in the end."""
        self.counters.deliveries += count

    def messages_shed(self, reason: str, count: int) -> None:
        """Count what slow connections did not get."""
        if count:
            self.counters.count(self.counters.shed, reason, count)

    def _attend(self, tally: Tally) -> None:
        for connection in tally.troubled:
            connection.attend()

    # -- leaving

    async def drain(self) -> None:
        """Send all viewers away, a bucket at a time over the drain window, each with a jittered time to come back."""
        self.draining = True
        window_s = self._settings.drain_seconds * DRAIN_SHARE
        groups = [bucket.connections(name) for bucket in self.hub.buckets for name in self._dialects]
        groups = [group for group in groups if group]
        for group in groups:
            for connection in group:
                self._send_away(connection)
            await self._until_empty(window_s / len(groups))
        await self._until_empty(self._settings.drain_seconds * (1 - DRAIN_SHARE))

    async def _until_empty(self, timeout_s: float) -> None:
        if self.hub.connections:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._empty.wait(), timeout_s)

    def _send_away(self, connection: Connection) -> None:
        delay_ms = self._rng.randrange(RECONNECT_JITTER_MS)
        connection.send(connection.dialect.encode_reply(GoAway("draining", delay_ms)))
        connection.close(CloseCode.DRAINING, "the gateway leaves; another one is there")

    def cut(self) -> None:
        """Cut every connection that is still there, and stop writing."""
        for bucket in self.hub.buckets:
            for name in self._dialects:
                for connection in bucket.connections(name):
                    connection.transport.abort()
        self._sweep.cut()
        self.fanout.stop()

    # -- what operators see

    def gauges(self) -> dict[str, float]:
        """Return what is there now, for metrics and /stats."""
        return {
            "connections": self.hub.connections,
            "rooms": len(self.hub.rooms),
            "platform_connections": self.presence.platform_connections,
        }

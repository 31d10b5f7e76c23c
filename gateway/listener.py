"""The client port: request heads come in, connections or HTTP requests go out.

A request for an upgrade becomes a `Connection` and nothing of this module stays with it. Any other request is handed,
with all bytes read so far, to the aiohttp application that serves the pages.
"""

import asyncio
from collections.abc import Mapping
from typing import Final, Protocol

from aiohttp import web

from gateway.connection import Connection
from protocol.dialect import Dialect
from protocol.websocket.errors import RemoteHttpError
from protocol.websocket.handshake import RequestHead, accept_upgrade, error_response, is_upgrade, parse_request_head

BACKLOG: Final = 4_096
"""Connections the kernel holds for us while the loop is busy: a reconnect storm's first instant."""

CLIENT_GONE_S: Final = 5.0
"""How long a refused client may take to read why, before it is cut off."""

HTTP_IDLE_S: Final = 15.0
"""How long an HTTP connection is kept for the next request: a page's files come one after the other."""


class ListenerHost(Protocol):
    """What the listener needs of the gateway."""

    @property
    def draining(self) -> bool:
        """Whether newcomers are to be sent elsewhere."""

    def welcome(self, transport: asyncio.Transport, dialect: Dialect, head: RequestHead, response: bytes) -> Connection:
        """Make the connection of a client whose upgrade is accepted, and send it the response first of all."""

    def handshake_refused(self, status: int) -> None:
        """Count a refusal."""


class Listener:
    """Listens on the client port."""

    def __init__(
        self, host: ListenerHost, dialects: Mapping[str, Dialect], pages: web.Application, handshake_s: float
    ) -> None:
        self.host = host
        self.dialects = dialects
        self.handshake_s = handshake_s
        self._runner = web.AppRunner(
            pages, access_log=None, handle_signals=False, shutdown_timeout=1.0, keepalive_timeout=HTTP_IDLE_S
        )
        self._server: asyncio.Server | None = None
        self._handshakes: dict[Handshake, float] = {}

    @property
    def port(self) -> int:
        """The port in use."""
        assert self._server is not None, "started"
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError when the port cannot be had."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Handshake(self), host, port, backlog=BACKLOG)

    def close(self) -> None:
        """Take no more connections; those that are open stay."""
        if self._server is not None:
            self._server.close()

    async def stop(self) -> None:
        """Close the listener, unfinished handshakes and HTTP connections."""
        self.close()
        for handshake in list(self._handshakes):
            handshake.abort()
        await self._runner.cleanup()

    def http_protocol(self) -> asyncio.Protocol:
        """Make an aiohttp protocol for one connection that asked for a page."""
        assert self._runner.server is not None, "set up"
        return self._runner.server()

    def begun(self, handshake: "Handshake", deadline: float) -> None:
        """Remember an unfinished handshake."""
        self._handshakes[handshake] = deadline

    def ended(self, handshake: "Handshake") -> None:
        """Forget it."""
        self._handshakes.pop(handshake, None)

    def expire(self, now: float) -> None:
        """Cut off handshakes that take too long; call once a second."""
        for handshake, deadline in list(self._handshakes.items()):
            if deadline <= now:
                handshake.expire()


class Handshake(asyncio.Protocol):
    """Reads one request head, within its limits, and decides what becomes of the connection."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._transport: asyncio.Transport | None = None
        self._buffer = b""
        self._refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Start the clock."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write"), "a stream transport"
        self._transport = transport  # type: ignore[assignment]  # uvloop's transport is not a subclass
        self._listener.begun(self, asyncio.get_running_loop().time() + self._listener.handshake_s)

    def data_received(self, data: bytes) -> None:
        """Collect the head; act on it when it is whole."""
        if self._refused:
            return
        self._buffer += data
        try:
            head = parse_request_head(self._buffer)
            if head is not None:
                self._route(head)
        except RemoteHttpError as error:
            self._refuse(error)

    def eof_received(self) -> bool:
        """Close: a client that gives up half-way gets no answer."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._listener.ended(self)

    def expire(self) -> None:
        """The head took too long, or a refused client does not go."""
        if self._refused:
            self.abort()
        else:
            self._refuse(RemoteHttpError(408, f"the request head must come within {self._listener.handshake_s:g} s"))

    def abort(self) -> None:
        """Cut the connection."""
        assert self._transport is not None, "connected"
        self._transport.abort()

    def _route(self, head: RequestHead) -> None:
        dialect = self._listener.dialects.get(head.path)
        if dialect is not None and (is_upgrade(head) or head.headers.get("Upgrade") is not None):
            self._upgrade(head, dialect)
        elif is_upgrade(head):
            known = ", ".join(self._listener.dialects)
            raise RemoteHttpError(404, f"no WebSocket at {head.path[:64]!r}; they are at {known}")
        else:
            self._hand_over(self._listener.http_protocol(), self._buffer, introduce=True)

    def _upgrade(self, head: RequestHead, dialect: Dialect) -> None:
        if self._listener.host.draining:
            raise RemoteHttpError(
                503, "this gateway is leaving; connect again to reach another", [("Retry-After", "1")]
            )
        accepted = accept_upgrade(head, subprotocols=(f"danmaku.{dialect.name}",))
        assert self._transport is not None, "connected"
        connection = self._listener.host.welcome(self._transport, dialect, head, accepted.response)
        self._hand_over(connection, self._buffer[head.raw_length :], introduce=False)

    def _hand_over(self, protocol: asyncio.Protocol, rest: bytes, *, introduce: bool) -> None:
        self._listener.ended(self)
        assert self._transport is not None, "connected"
        self._transport.set_protocol(protocol)
        if introduce:
            protocol.connection_made(self._transport)
        self._buffer = b""
        if rest:
            protocol.data_received(rest)

    def _refuse(self, error: RemoteHttpError) -> None:
        assert self._transport is not None, "connected"
        self._refused, self._buffer = True, b""
        self._listener.host.handshake_refused(error.status)
        self._transport.write(error_response(error.status, error.message, error.headers))
        # Closing at once would reset the connection and lose the answer: what is still on its way is read and dropped.
        self._listener.begun(self, asyncio.get_running_loop().time() + CLIENT_GONE_S)
        if self._transport.can_write_eof():
            self._transport.write_eof()

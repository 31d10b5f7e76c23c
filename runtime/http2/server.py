"""The accepting end."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import Callable

import h2.events as ev
from h2.errors import ErrorCodes

from runtime.http2.connection import JUST_ENDED, Connection, decoded
from runtime.http2.limits import DEFAULT_LIMITS, Http2Limits
from runtime.http2.stream import LOGGER, Refusal, Stream, StreamHandler
from runtime.lifecycle import listening

Accept = Callable[[Stream], StreamHandler | Refusal]
# How long peers get to take the last bytes when the server stops.
CLOSE_S = 1.0


class Http2Server:
    """Listens for HTTP/2 by prior knowledge (RFC 9113, section 3.3), or over TLS with ALPN.

    `accept` is called with each new stream, whose `headers` hold the request (`:path`, `authorization` …).
    It returns a handler, and the response headers (200) leave at once, or a `Refusal`. It may already write.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        accept: Accept,
        ssl: ssl_module.SSLContext | None = None,
        limits: Http2Limits = DEFAULT_LIMITS,
    ) -> None:
        self._host = host
        self._requested_port = port
        self._accept = accept
        self._ssl = ssl
        self._limits = limits
        self._server: asyncio.Server | None = None
        self._connections: set[_ServerConnection] = set()

    def __repr__(self) -> str:
        return f"<Http2Server {self._host}:{self.port} connections={len(self._connections)}>"

    @property
    def port(self) -> int:
        """The port in use; the one asked for until `start` has returned."""
        if self._server is None or not self._server.sockets:
            return self._requested_port
        return int(self._server.sockets[0].getsockname()[1])

    async def start(self) -> None:
        """Listen. Raises `StartError` when the port cannot be had."""
        if self._ssl is not None:
            self._ssl.set_alpn_protocols(["h2"])
        with listening(self._host, self._requested_port):
            self._server = await asyncio.get_running_loop().create_server(
                lambda: _ServerConnection(self._accept, self._limits, self._connections),
                self._host,
                self._requested_port,
                ssl=self._ssl,
                ssl_handshake_timeout=self._limits.handshake_s if self._ssl is not None else None,
            )

    async def stop(self) -> None:
        """Stop listening, say GOAWAY to every peer, and close; harmless when not started.

        Whoever wants its streams ended in order ends them first: HTTP/2 lets a connection finish its streams
        after GOAWAY, and h2 does not.
        """
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        connections = list(self._connections)
        for connection in connections:
            connection.leave()
        if connections:
            await asyncio.wait([connection.closed for connection in connections], timeout=CLOSE_S)
        for connection in connections:
            connection.abort()
        if connections:
            await asyncio.wait([connection.closed for connection in connections])


class _ServerConnection(Connection):
    """One peer. A member of `others`, the connections of its server, from first to last."""

    def __init__(self, accept: Accept, limits: Http2Limits, others: set[_ServerConnection]) -> None:
        super().__init__(client_side=False, limits=limits)
        self._accept = accept
        self._others = others
        self._greeted = False
        self._on[ev.RequestReceived] = self._request
        self._on[ev.RemoteSettingsChanged] = self._settings

    def ready(self) -> None:
        """Refuse one too many; else give the peer its time to greet."""
        if len(self._others) >= self.limits.max_connections:
            LOGGER.warning("too many connections", peer=self.peer, limit=self.limits.max_connections)
            self.finish("too many connections", ErrorCodes.ENHANCE_YOUR_CALM)
            return
        self._others.add(self)
        self.after(self.limits.handshake_s, self._check_greeting)

    def connection_lost(self, exc: Exception | None) -> None:
        """Leave the server's books."""
        self._others.discard(self)
        super().connection_lost(exc)

    def _settings(self, _event: ev.RemoteSettingsChanged) -> None:
        self._greeted = True

    def _check_greeting(self) -> None:
        if not self._greeted:
            LOGGER.warning("no HTTP/2 preface in time", peer=self.peer, limit_s=self.limits.handshake_s)
            self.finish("no preface in time", ErrorCodes.PROTOCOL_ERROR, abort=True)

    def _request(self, event: ev.RequestReceived) -> None:
        stream_id = event.stream_id
        stream = Stream(self, stream_id, decoded(event.headers), self.peer)
        self._streams[stream_id] = stream
        try:
            answer = self._accept(stream)
        except Exception as error:
            LOGGER.exception("accept failed", peer=self.peer, error=repr(error))
            answer = Refusal(500, "internal error")
        if stream.closed:
            return
        if isinstance(answer, Refusal):
            self._refuse(stream, answer)
            return
        stream.attach(answer)
        with JUST_ENDED:
            self._h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/octet-stream")])

    def _refuse(self, stream: Stream, refusal: Refusal) -> None:
        body = refusal.message.encode()
        headers = [
            (":status", str(refusal.status)),
            ("content-type", "text/plain; charset=utf-8"),
            ("content-length", str(len(body))),
        ]
        with JUST_ENDED:
            self._h2.send_headers(stream.stream_id, headers)
        # What `accept` may have written before it said no.
        stream.take(stream.pending())
        stream.refused = True
        stream.write(body)
        stream.end()

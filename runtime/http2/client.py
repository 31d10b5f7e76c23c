"""The opening end: one connection for one stream."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from collections.abc import Callable, Mapping

import h2.events as ev
from h2.errors import ErrorCodes

from runtime.http2.connection import Connection, decoded
from runtime.http2.errors import ConnectFailed, StreamRefused
from runtime.http2.limits import Http2Limits
from runtime.http2.stream import Stream, StreamHandler

# How much of a refusal's explanation is worth reading.
MESSAGE_BYTES = 4096
# The fourth byte of a SETTINGS frame (RFC 9113, section 6.5).
SETTINGS_TYPE = b"\x04"

HandlerFactory = Callable[[Stream], StreamHandler]


async def open_stream(  # noqa: PLR0913 - all of it is what a connection is
    host: str,
    port: int,
    *,
    path: str,
    headers: Mapping[str, str],
    handler_factory: HandlerFactory,
    ssl: ssl_module.SSLContext | None = None,
    timeout_s: float = 5.0,
    keepalive_s: float = 5.0,
) -> Stream:
    """Connect, POST to `path`, and return the stream once the server has answered 200.

    HTTP/2 by prior knowledge, or over TLS with ALPN where `ssl` is given. `handler_factory` is called just
    before this returns, and before any data is delivered. The connection lives as long as the stream.
    `timeout_s` is for everything up to the answer. Raises `ConnectFailed` and `StreamRefused`.
    """
    scheme = "http" if ssl is None else "https"
    request = [(":method", "POST"), (":scheme", scheme), (":authority", f"{host}:{port}"), (":path", path)]
    request += [(name.lower(), value) for name, value in headers.items()]
    if ssl is not None:
        ssl.set_alpn_protocols(["h2"])
    limits = Http2Limits(max_streams=1, keepalive_s=keepalive_s)
    connection = _ClientConnection(request, handler_factory, limits)
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(timeout_s):
            await loop.create_connection(lambda: connection, host, port, ssl=ssl)
            return await connection.opened
    except BaseException as error:
        # Cancellation included: a stream that nobody was given must not live on.
        connection.abort()
        if isinstance(error, TimeoutError):
            raise ConnectFailed(f"{host}:{port}: no answer within {timeout_s} s") from error
        if isinstance(error, OSError):
            raise ConnectFailed(f"{host}:{port}: {error}") from error
        raise


class _ClientConnection(Connection):
    """A connection that carries one stream, opened with it."""

    def __init__(self, request: list[tuple[str, str]], handler_factory: HandlerFactory, limits: Http2Limits) -> None:
        super().__init__(client_side=True, limits=limits)
        # The stream, once the server has answered 200.
        self.opened: asyncio.Future[Stream] = self._loop.create_future()
        self._request = request
        self._first_bytes = True
        self._handler_factory = handler_factory
        self._on[ev.ResponseReceived] = self._response

    def ready(self) -> None:
        """Send the request with the preface, without waiting for the server's SETTINGS (section 3.4)."""
        assert self._transport is not None, "called from connection_made"
        tls = self._transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self._foreign()
            return
        stream_id = self._h2.get_next_available_stream_id()
        stream = Stream(self, stream_id, {}, self.peer)
        stream.attach(_Unanswered(self))
        self._streams[stream_id] = stream
        self._h2.send_headers(stream_id, self._request)

    def data_received(self, data: bytes) -> None:
        """Check that the server's first frame is SETTINGS (section 3.4).

        h2 would take the beginning of an HTTP/1 answer for a frame of megabytes, and wait for the rest.
        """
        if self._first_bytes:
            self._first_bytes = False
            if data[3:4] not in (b"", SETTINGS_TYPE):
                self._foreign()
                return
        super().data_received(data)

    def stream_over(self, stream: Stream) -> None:
        """Close: this connection has no other purpose."""
        self._flush()
        self.finish("ended", ErrorCodes.NO_ERROR)

    def _response(self, event: ev.ResponseReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        stream.headers = decoded(event.headers)
        status = stream.headers.get(":status", "")
        if status != "200":
            stream.attach(_Refused(self, int(status) if status.isdigit() else 0))
        elif not self.opened.done():
            stream.attach(self._handler_factory(stream))
            self.opened.set_result(stream)

    def _foreign(self) -> None:
        self.fail(ConnectFailed(f"{self.peer}: the server does not speak HTTP/2"))
        self.finish("no HTTP/2", abort=True)

    def fail(self, error: Exception) -> None:
        """Tell the opener, unless he has his answer."""
        if not self.opened.done():
            self.opened.set_exception(error)


class _Unanswered:
    """The handler until the server has answered."""

    def __init__(self, connection: _ClientConnection) -> None:
        self._connection = connection

    def stream_data(self, data: bytes) -> None:
        """Do nothing: h2 lets no data come before the answer."""

    def stream_ended(self) -> None:
        """Do nothing: the end of the stream follows."""

    def stream_lost(self, reason: str) -> None:
        """Report that there will be no answer."""
        self._connection.fail(ConnectFailed(f"{self._connection.peer}: {reason}"))


class _Refused:
    """The handler of a stream that the server answered with no: collects why."""

    def __init__(self, connection: _ClientConnection, status: int) -> None:
        self._connection = connection
        self._status = status
        self._message = bytearray()

    def stream_data(self, data: bytes) -> None:
        """Collect the beginning of the message."""
        self._message += data[: MESSAGE_BYTES - len(self._message)]

    def stream_ended(self) -> None:
        """Report what was said."""
        self._report()

    def stream_lost(self, reason: str) -> None:
        """Report what was said, though it may be half of it."""
        self._report()

    def _report(self) -> None:
        self._connection.fail(StreamRefused(self._status, self._message.decode("utf-8", "replace")))
        self._connection.abort()

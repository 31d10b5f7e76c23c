"""One HTTP/2 connection: bytes of a socket on one side, streams on the other, h2 in between.

The path of a byte out: `Stream.write` puts it into the stream's outbox; at the end of the loop's turn
`_flush` moves from the outboxes into h2 what the windows allow, a frame at a time, and hands the frames to
the socket in one write. While the socket is full nothing moves, so the outbox is where bytes wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import h2.events as ev
from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.exceptions import ProtocolError
from h2.settings import SettingCodes, Settings

from runtime.http2 import limits as sizes
from runtime.http2.keepalive import Keepalive, Verdict
from runtime.http2.limits import Http2Limits
from runtime.http2.stream import LOGGER, Stream

Headers = list[tuple[bytes, bytes]]
# Lets a frame fall that h2 refuses because its stream or connection has just ended: h2 reports events in
# batches, and a handler may act on the first while a later one is the end.
JUST_ENDED = suppress(ProtocolError)


class Connection(asyncio.Protocol):
    """What client and server have in common. Ends with `closed` done, after every stream was told."""

    def __init__(self, *, client_side: bool, limits: Http2Limits) -> None:
        self.limits = limits
        self.peer = "unknown"
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._h2 = _h2_connection(client_side, limits)
        self._streams: dict[int, Stream] = {}
        # Streams with something to send, in the order of their turns.
        self._sending: dict[Stream, None] = {}
        self._transport: asyncio.Transport | None = None
        self._socket_full = False
        self._flush_scheduled = False
        self._over = False
        self._resets = 0
        self._keepalive: Keepalive | None = None
        # The latest of each kind; one that has fired is harmless.
        self._timers: dict[Callable[[], None], asyncio.Handle] = {}
        self._loop = asyncio.get_running_loop()
        self._on: dict[type[ev.Event], Callable[[Any], None]] = {
            ev.DataReceived: self._data,
            ev.StreamEnded: self._ended,
            ev.StreamReset: self._reset_by_peer,
            ev.ConnectionTerminated: self._goaway,
        }

    def __repr__(self) -> str:
        state = "over" if self._over else "open"
        return f"<{type(self).__name__} {self.peer} {state} streams={len(self._streams)}>"

    # The socket's side.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the preface and SETTINGS (RFC 9113, section 3.4) and start the keepalive."""
        # A cast, because uvloop's transports are not subclasses.
        self._transport = cast("asyncio.Transport", transport)
        self.peer = _peer_name(self._transport)
        self._transport.set_write_buffer_limits(high=sizes.SOCKET_BUFFER_BYTES)
        self._h2.initiate_connection()
        # The connection's window starts at 64 KiB whatever SETTINGS say (section 6.9.2).
        self._h2.increment_flow_control_window(sizes.CONNECTION_WINDOW_BYTES - 65_535)
        self._keepalive = Keepalive(self.limits.keepalive_s, self._loop.time())
        self.after(self.limits.keepalive_s, self._check_keepalive)
        self.ready()
        self._flush()

    def data_received(self, data: bytes) -> None:
        """Parse what came, tell the streams, and send what that gave cause for."""
        if self._over:
            return
        assert self._keepalive is not None, "set in connection_made"
        self._keepalive.heard = self._loop.time()
        try:
            events = self._h2.receive_data(data)
        except ProtocolError as error:
            self._broken(f"protocol error: {error}")
            return
        except Exception as error:
            # A peer must not be able to get past us by finding an error that h2 does not declare.
            LOGGER.exception("h2 failed", peer=self.peer, error=repr(error))
            self._broken(f"unreadable: {error!r}")
            return
        self._dispatch(events)
        self._flush()

    def pause_writing(self) -> None:
        """Note that the socket is full."""
        self._socket_full = True

    def resume_writing(self) -> None:
        """Go on sending."""
        self._socket_full = False
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell every stream, if that was not done before."""
        self.finish(f"connection lost: {exc}" if exc else "connection closed by the peer")
        if not self.closed.done():
            self.closed.set_result(None)

    # The streams' side.

    def wake(self, stream: Stream) -> None:
        """Send `stream`'s output at the end of this turn of the loop, with everything else of the turn."""
        self._sending[stream] = None
        if not self._flush_scheduled and not self._over:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def credit(self, stream: Stream, size: int) -> None:
        """Return `size` consumed bytes to the peer; h2 decides when a WINDOW_UPDATE is due."""
        if size and not self._over:
            with JUST_ENDED:
                self._h2.acknowledge_received_data(size, stream.stream_id)
            self.wake(stream)

    def reset(self, stream: Stream, code: ErrorCodes) -> None:
        """Send RST_STREAM. The handler hears of it in the next turn, not from within its own call."""
        stream.closed = True
        self._forget(stream)
        if not self._over:
            with JUST_ENDED:
                self._h2.reset_stream(stream.stream_id, code)
            self.wake(stream)
        self._loop.call_soon(self._after_reset, stream, f"reset by us: {code.name}")

    def unsent_bytes(self) -> int:
        """Return what the socket has not taken yet."""
        return self._transport.get_write_buffer_size() if self._transport is not None and not self._over else 0

    # The end.

    def finish(self, reason: str, code: ErrorCodes | None = None, *, abort: bool = False) -> None:
        """End the connection and tell every stream why.

        With a code the peer gets a GOAWAY first. `abort` drops what the socket has not taken, for peers
        that take nothing; else the transport is closed when all is sent.
        """
        if self._over:
            return
        if code is not None:
            self._h2.close_connection(code)
        self._over = True
        for timer in self._timers.values():
            timer.cancel()
        # They hold the connection, and it them.
        self._timers.clear()
        if self._transport is not None:
            self._transport.write(self._h2.data_to_send())
            if abort:
                self._transport.abort()
            else:
                self._transport.close()
        streams = list(self._streams.values())
        self._streams.clear()
        self._sending.clear()
        for stream in streams:
            stream.lost(reason)

    def abort(self) -> None:
        """Drop the socket with whatever it has not taken."""
        if self._transport is not None:
            self._transport.abort()

    def leave(self) -> None:
        """Send what can be sent, say GOAWAY (RFC 9113, section 6.8) and close."""
        self._flush()
        self.finish("we are going away", ErrorCodes.NO_ERROR)

    # For subclasses.

    def ready(self) -> None:
        """Do what comes first on a new connection."""

    def after(self, delay_s: float, callback: Callable[[], None]) -> None:
        """Call back once, later, unless the connection is over by then."""
        if not self._over:
            self._timers[callback] = self._loop.call_later(delay_s, callback)

    def stream_over(self, stream: Stream) -> None:
        """Note that a stream's life is over while the connection goes on."""

    # Events of h2.

    def _dispatch(self, events: list[ev.Event]) -> None:
        for event in events:
            if self._over:
                return
            handle = self._on.get(type(event))
            if handle is not None:
                handle(event)

    def _data(self, event: ev.DataReceived) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is None:
            self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        else:
            stream.received(event.data, event.flow_controlled_length)

    def _ended(self, event: ev.StreamEnded) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.received_end()

    def _reset_by_peer(self, event: ev.StreamReset) -> None:
        self._resets += 1
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            self._forget(stream)
            stream.lost(f"reset by the peer: {_code_name(event.error_code)}")
            self.stream_over(stream)
        if self._resets > sizes.RESETS:
            LOGGER.warning("peer resets too many streams", peer=self.peer)
            self.finish("too many resets", ErrorCodes.ENHANCE_YOUR_CALM)

    def _goaway(self, event: ev.ConnectionTerminated) -> None:
        self.finish(f"the peer is going away: {_code_name(event.error_code)}")

    def _broken(self, reason: str) -> None:
        LOGGER.warning("peer broke HTTP/2", peer=self.peer, reason=reason)
        # h2 has put its own GOAWAY into the output, unless it failed before it got that far.
        said = self._h2.state_machine.state is ConnectionState.CLOSED
        self.finish(reason, None if said else ErrorCodes.PROTOCOL_ERROR)

    # Sending.

    def _flush(self) -> None:
        self._flush_scheduled = False
        while not self._over and self._transport is not None:
            more = False if self._socket_full else self._fill()
            data = self._h2.data_to_send()
            if data:
                self._transport.write(data)
                self._watch_control_frames(self._transport)
            if not more:
                return

    def _fill(self) -> bool:
        """Move output into h2 as the windows allow; True when a budget's worth was moved and more may be."""
        budget = sizes.FLUSH_BYTES
        for stream in list(self._sending):
            del self._sending[stream]
            if stream.closed:
                continue
            budget = self._send_from(stream, budget)
            if stream.pending():
                # Behind the others, who may have been waiting; if its window is empty, until that opens.
                self._sending[stream] = None
            if budget == 0:
                return True
        return False

    def _send_from(self, stream: Stream, budget: int) -> int:
        """Send what the windows allow; return what is left of the budget."""
        window = self._h2.local_flow_control_window(stream.stream_id) if stream.pending() else 0
        frame = self._h2.max_outbound_frame_size
        while (size := min(stream.pending(), window, frame, budget)) > 0:
            self._h2.send_data(stream.stream_id, stream.take(size))
            window -= size
            budget -= size
        if stream.ending and not stream.pending():
            self._send_end(stream)
        return budget

    def _send_end(self, stream: Stream) -> None:
        if not stream.local_ended:
            stream.local_ended = True
            self._h2.end_stream(stream.stream_id)
        if stream.refused and not stream.remote_ended:
            # RFC 9113, section 8.1: a complete answer, and no interest in the rest of the request.
            self.reset(stream, ErrorCodes.NO_ERROR)
        elif stream.remote_ended:
            self._forget(stream)
            stream.lost("ended")
            self.stream_over(stream)

    def _after_reset(self, stream: Stream, reason: str) -> None:
        stream.tell_lost(reason)
        self.stream_over(stream)

    def _forget(self, stream: Stream) -> None:
        self._streams.pop(stream.stream_id, None)
        self._sending.pop(stream, None)

    def _watch_control_frames(self, transport: asyncio.Transport) -> None:
        if transport.get_write_buffer_size() > sizes.SOCKET_BUFFER_BYTES + sizes.FLUSH_BYTES + sizes.CONTROL_BYTES:
            LOGGER.warning("peer asks and does not read", peer=self.peer)
            self.finish("peer asks and does not read", abort=True)

    def _check_keepalive(self) -> None:
        assert self._keepalive is not None, "set in connection_made"
        verdict, due = self._keepalive.check(self._loop.time())
        if verdict is Verdict.DEAD:
            self.finish("keepalive timeout", abort=True)
            return
        if verdict is Verdict.PING:
            self._h2.ping(b"are you?")
            self._flush()
        self.after(due - self._loop.time(), self._check_keepalive)


def decoded(headers: Headers) -> dict[str, str]:
    """Return header fields as text, the first value of each name; h2 has checked that names are lower case."""
    result: dict[str, str] = {}
    for name, value in headers:
        # Latin-1 takes every byte; who wants more of a value parses it himself.
        result.setdefault(name.decode("latin-1"), value.decode("latin-1"))
    return result


def _h2_connection(client_side: bool, limits: Http2Limits) -> H2Connection:
    connection = H2Connection(H2Configuration(client_side=client_side, header_encoding=None))
    values: dict[SettingCodes, int] = {
        SettingCodes.INITIAL_WINDOW_SIZE: sizes.STREAM_WINDOW_BYTES,
        SettingCodes.MAX_FRAME_SIZE: sizes.FRAME_BYTES,
        SettingCodes.MAX_CONCURRENT_STREAMS: limits.max_streams,
        SettingCodes.MAX_HEADER_LIST_SIZE: limits.max_header_bytes,
    }
    if client_side:
        values[SettingCodes.ENABLE_PUSH] = 0
    # Before the first SETTINGS are sent, so that they hold from the start rather than from the peer's ACK.
    connection.local_settings = Settings(client=client_side, initial_values=values)
    connection.max_inbound_frame_size = sizes.FRAME_BYTES
    connection.decoder.max_header_list_size = limits.max_header_bytes
    return connection


def _code_name(code: ErrorCodes | int | None) -> str:
    return code.name if isinstance(code, ErrorCodes) else str(code)


def _peer_name(transport: asyncio.Transport) -> str:
    address = transport.get_extra_info("peername")
    return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else "unknown"

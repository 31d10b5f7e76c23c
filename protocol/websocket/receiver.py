"""A stream of frames into whole messages and control events (RFC 6455, sections 5.4 to 5.6 and 8.1).

What a connection remembers between two reads is a FrameReceiver, and only while a frame or a message is
incomplete: `receive` makes one when it is needed and gives it up when the stream is at rest, so that an idle
connection holds nothing at all.
"""

from __future__ import annotations

from codecs import utf_8_decode
from dataclasses import dataclass
from typing import Final, Protocol

from protocol.codes import CloseCode
from protocol.websocket.errors import RemoteWebSocketError
from protocol.websocket.frames import (
    CLOSE_NO_STATUS,
    OP_CLOSE,
    OP_CONTINUATION,
    OP_PING,
    OP_TEXT,
    FrameHeader,
    Role,
    apply_mask,
    is_wire_close_code,
    parse_header,
)
from protocol.websocket.limits import MessageLimits

_CONTROL: Final = 0x08
_WHOLE_TEXT: Final = 0x81
# The second byte of a masked frame of up to 125 bytes is this plus its length; the header has 6 bytes.
_MASKED: Final = 0x80
_SHORT_MASKED_HEADER: Final = 6
_SHORT_PAYLOAD: Final = 125


# Not frozen, for that would double the cost of making one; nobody changes an event.
@dataclass(slots=True)
class Text:
    """A whole text message; the payload is valid UTF-8."""

    payload: bytes


@dataclass(slots=True)
class Binary:
    """A whole binary message."""

    payload: bytes


@dataclass(slots=True)
class Ping:
    """Answer with a Pong of the same payload."""

    payload: bytes


@dataclass(slots=True)
class Pong:
    """An answer to our Ping, or unasked: either is a sign of life."""

    payload: bytes


@dataclass(slots=True)
class Close:
    """The peer's last frame; 1005 when it named no code. Whatever comes after it is ignored."""

    code: int
    reason: str


Event = Text | Binary | Ping | Pong | Close


class Extension(Protocol):
    """What was negotiated to change messages (section 9): the place for permessage-deflate.

    An extension marks its messages with RSV1 on their first frame; without one, RSV1 is an error. One object may
    serve all connections if it keeps no context between messages.
    """

    def decode(self, payload: bytes, limit_bytes: int) -> bytes:
        """The message as it was before encoding.

        Raises RemoteWebSocketError: 1009 before more than `limit_bytes` are made, 1007 for data that cannot be
        decoded.
        """


class FrameReceiver:
    """The incoming half of one connection, for the role that receives.

    Call `feed` with what arrived; after an error or a Close it ignores everything.
    """

    __slots__ = (
        "_ended",
        "_extension",
        "_head",
        "_header",
        "_limit",
        "_message",
        "_message_encoded",
        "_message_opcode",
        "_part",
        "_received",
        "_role",
        "_tail",
    )

    def __init__(self, role: Role, limits: MessageLimits, extension: Extension | None = None) -> None:
        self._role = role
        self._limit = limits.max_message_bytes
        self._extension = extension
        self._ended = False
        # The first bytes of a header that is incomplete.
        self._head = b""
        # The frame whose payload is incomplete, how many of its bytes came, and, if it is a control frame, those.
        self._header: FrameHeader | None = None
        self._received = 0
        self._part = b""
        # The message whose last frame is incomplete: its payload so far. Opcode 0: there is none.
        self._message_opcode = OP_CONTINUATION
        self._message_encoded = False
        self._message: bytearray | None = None
        # Text: the bytes of a character that is incomplete, three at most.
        self._tail = b""

    def __repr__(self) -> str:
        state = "ended" if self._ended else "at rest" if self.at_rest else "receiving"
        return f"<FrameReceiver {self._role.value} {state} buffered={self._buffered}>"

    @property
    def at_rest(self) -> bool:
        """Whether nothing is pending: a new receiver would do as well."""
        return not (self._ended or self._head or self._header or self._message_opcode)

    @property
    def ended(self) -> bool:
        """Whether a Close or an error has ended the stream."""
        return self._ended

    @property
    def _buffered(self) -> int:
        return len(self._head) + len(self._part) + (len(self._message) if self._message else 0)

    def feed(self, data: bytes) -> list[Event]:
        """The events that these bytes complete.

        Raises RemoteWebSocketError as soon as a byte shows that a rule or limit is broken; its `events` are those
        completed before.
        """
        events: list[Event] = []
        if self._ended:
            return events
        try:
            self._consume(data, events)
        except RemoteWebSocketError as error:
            self._end()
            error.events = events
            raise
        return events

    def _consume(self, data: bytes, events: list[Event]) -> None:
        if self._head:
            data = self._head + data
            self._head = b""
        position = 0
        while True:
            header = self._header
            if header is None:
                header = parse_header(data, position, self._role)
                if header is None:
                    self._head = data[position:]
                    return
                self._begin_frame(header)
                position += header.size
            chunk = data[position : position + header.length - self._received]
            position += len(chunk)
            event = self._receive_payload(header, chunk)
            if event is not None:
                events.append(event)
            if self._ended or self._header is not None:
                return

    def _begin_frame(self, header: FrameHeader) -> None:
        """Judge a header against the message it belongs to (section 5.4), before its payload arrives."""
        if not header.opcode & _CONTROL:
            if header.opcode == OP_CONTINUATION:
                self._check_continuation(header)
            else:
                self._begin_message(header)
            length = header.length + (len(self._message) if self._message else 0)
            if length > self._limit:
                raise RemoteWebSocketError(
                    CloseCode.MESSAGE_TOO_BIG, f"a message of {length} bytes is over the limit of {self._limit}"
                )
        self._header = header
        self._received = 0

    def _check_continuation(self, header: FrameHeader) -> None:
        if not self._message_opcode:
            raise RemoteWebSocketError(
                CloseCode.PROTOCOL_ERROR, "a continuation frame came without a message to continue"
            )
        if header.rsv1:
            raise RemoteWebSocketError(CloseCode.PROTOCOL_ERROR, "RSV1 must be 0 in a continuation frame")

    def _begin_message(self, header: FrameHeader) -> None:
        if self._message_opcode:
            raise RemoteWebSocketError(
                CloseCode.PROTOCOL_ERROR, "a new message began before the last frame of the one before"
            )
        if header.rsv1 and self._extension is None:
            raise RemoteWebSocketError(CloseCode.PROTOCOL_ERROR, "RSV1 must be 0: no extension was negotiated")
        self._message_opcode = header.opcode
        self._message_encoded = header.rsv1

    def _receive_payload(self, header: FrameHeader, chunk: bytes) -> Event | None:
        """Take what arrived of a frame's payload; the event it completes, if any."""
        if header.key is not None:
            turn = self._received & 3
            chunk = apply_mask(chunk, header.key[turn:] + header.key[:turn])
        self._received += len(chunk)
        complete = self._received == header.length
        if complete:
            self._header = None
        if not header.opcode & _CONTROL:
            return self._receive_data(chunk, final=complete and header.fin)
        chunk = self._part + chunk
        self._part = b"" if complete else chunk
        return self._control_event(header.opcode, chunk) if complete else None

    def _receive_data(self, chunk: bytes, *, final: bool) -> Event | None:
        is_text = self._message_opcode == OP_TEXT
        if is_text and not self._message_encoded:
            self._check_text(chunk, final=final)
        if self._message is not None:
            self._message += chunk
        elif not final:
            self._message = bytearray(chunk)
        if not final:
            return None
        payload = chunk if self._message is None else bytes(self._message)
        if self._message_encoded:
            payload = self._decode(payload, is_text=is_text)
        self._message = None
        self._message_opcode = OP_CONTINUATION
        return Text(payload) if is_text else Binary(payload)

    def _check_text(self, chunk: bytes, *, final: bool) -> None:
        """Refuse the first byte that no UTF-8 text can have at its place, even within a character."""
        if self._tail:
            chunk = self._tail + chunk
        elif chunk.isascii():
            return
        try:
            _, used = utf_8_decode(chunk, "strict", final)
        except UnicodeDecodeError as error:
            raise _invalid_text() from error
        self._tail = chunk[used:]
        # The decoder waits for the third byte of a surrogate, which no third byte makes valid.
        if len(self._tail) == 2 and b"\xed\xa0" <= self._tail < b"\xee":
            raise _invalid_text()

    def _decode(self, payload: bytes, *, is_text: bool) -> bytes:
        assert self._extension is not None, "an encoded message is refused without an extension"
        payload = self._extension.decode(payload, self._limit)
        if is_text:
            self._check_text(payload, final=True)
        return payload

    def _control_event(self, opcode: int, payload: bytes) -> Event:
        if opcode == OP_PING:
            return Ping(payload)
        if opcode == OP_CLOSE:
            close = _parse_close(payload)
            self._end()
            return close
        return Pong(payload)

    def _end(self) -> None:
        self._ended = True
        self._head = self._part = self._tail = b""
        self._header = None
        self._message = None


def _invalid_text() -> RemoteWebSocketError:
    return RemoteWebSocketError(CloseCode.INVALID_PAYLOAD, "a text message is not UTF-8")


def _parse_close(payload: bytes) -> Close:
    """Code and reason of a Close frame (sections 5.5.1 and 7.4)."""
    if not payload:
        return Close(CLOSE_NO_STATUS, "")
    if len(payload) == 1:
        raise RemoteWebSocketError(
            CloseCode.PROTOCOL_ERROR, "a Close payload of 1 byte is too short for a close code, which has 2"
        )
    code = int.from_bytes(payload[:2], "big")
    if not is_wire_close_code(code):
        raise RemoteWebSocketError(CloseCode.PROTOCOL_ERROR, f"close code {code} may not be sent")
    try:
        return Close(code, payload[2:].decode())
    except UnicodeDecodeError as error:
        raise RemoteWebSocketError(CloseCode.INVALID_PAYLOAD, "a close reason is not UTF-8") from error


def receive(
    data: bytes,
    receiver: FrameReceiver | None,
    *,
    role: Role,
    limits: MessageLimits,
    extension: Extension | None = None,
) -> tuple[list[Event], FrameReceiver | None]:
    """The events in what arrived, and the receiver to pass with the next bytes: None when nothing is pending.

    After a Close the receiver returned is one that ignores everything. Raises RemoteWebSocketError as
    `FrameReceiver.feed` does; the connection is failed then and reads no more.
    """
    if receiver is None:
        payload = _whole_short_text(data, role, limits)
        if payload is not None:
            return [Text(payload)], None
        receiver = FrameReceiver(role, limits, extension)
    events = receiver.feed(data)
    return events, None if receiver.at_rest else receiver


def _whole_short_text(data: bytes, role: Role, limits: MessageLimits) -> bytes | None:
    """The message, if the data is exactly one client's text of up to 125 bytes: nearly all that arrives."""
    length = len(data) - _SHORT_MASKED_HEADER
    if (
        0 <= length <= _SHORT_PAYLOAD
        and data[0] == _WHOLE_TEXT
        and data[1] == _MASKED + length
        and role is Role.SERVER
        and length <= limits.max_message_bytes
    ):
        payload = apply_mask(data[_SHORT_MASKED_HEADER:], data[2:_SHORT_MASKED_HEADER])
        # Text that is not UTF-8 is left to the receiver, whose error names what is wrong.
        try:
            payload.decode()
        except UnicodeDecodeError:
            return None
        return payload
    return None

"""One WebSocket frame: encoding, header parsing and masking (RFC 6455, section 5)."""

from __future__ import annotations

from enum import Enum
from struct import Struct
from typing import Final, NamedTuple

from protocol.codes import CloseCode
from protocol.errors import LocalProtocolError
from protocol.websocket.errors import RemoteWebSocketError

OP_CONTINUATION: Final = 0x0
OP_TEXT: Final = 0x1
OP_BINARY: Final = 0x2
OP_CLOSE: Final = 0x8
OP_PING: Final = 0x9
OP_PONG: Final = 0xA

# Reported for a Close frame without a code; never on the wire (section 7.4.1).
CLOSE_NO_STATUS: Final = 1005

MAX_CONTROL_PAYLOAD: Final = 125
MAX_CLOSE_REASON: Final = MAX_CONTROL_PAYLOAD - 2
# A 64-bit length has its top bit clear (section 5.2).
MAX_FRAME_PAYLOAD: Final = 2**63 - 1

_FIN: Final = 0x80
_RSV1: Final = 0x40
_RSV_ALL: Final = 0x70
_MASKED: Final = 0x80
_CONTROL: Final = 0x08
_KNOWN_OPCODES: Final = frozenset({OP_CONTINUATION, OP_TEXT, OP_BINARY, OP_CLOSE, OP_PING, OP_PONG})
# 1004 is reserved, 1005, 1006 and 1015 never travel; 1012 to 1014 were registered after the RFC.
_WIRE_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})

_LENGTH_16: Final = Struct("!H")
_LENGTH_64: Final = Struct("!Q")
_HEADER_16: Final = Struct("!BBH")
_HEADER_64: Final = Struct("!BBQ")

# One XOR as a whole number is quickest for short payloads; from here on four strided table look-ups are.
_XOR_BY_TABLE_FROM: Final = 512
_XOR_TABLES: Final = tuple(bytes(value ^ key for value in range(256)) for key in range(256))


class Role(Enum):
    """Which end of the connection we are: a client masks what it sends, a server never does (section 5.1)."""

    CLIENT = "client"
    SERVER = "server"


class FrameHeader(NamedTuple):
    """A complete and legal frame header; `size` is its own length in bytes, `length` the payload's."""

    opcode: int
    fin: bool
    rsv1: bool
    length: int
    key: bytes | None
    size: int


def apply_mask(payload: bytes, key: bytes) -> bytes:
    """XOR the payload with the 4-byte key repeated from its first byte (section 5.3); its own inverse."""
    length = len(payload)
    if length < _XOR_BY_TABLE_FROM:
        pad = (key * ((length + 3) >> 2))[:length]
        return (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")
    masked = bytearray(payload)
    for offset in range(4):
        masked[offset::4] = masked[offset::4].translate(_XOR_TABLES[key[offset]])
    return bytes(masked)


def encode_frame(
    opcode: int, payload: bytes, *, fin: bool = True, mask: bytes | None = None, rsv1: bool = False
) -> bytes:
    """One frame as a single bytes object, ready to send.

    `mask` is the 4-byte key of a client's frame, fresh and unpredictable for each frame (section 5.3).
    Raises LocalProtocolError for a frame that no peer would accept.
    """
    length = len(payload)
    if opcode not in _KNOWN_OPCODES:
        raise LocalProtocolError(f"opcode {opcode:#x} is reserved")
    if opcode & _CONTROL and (length > MAX_CONTROL_PAYLOAD or not fin or rsv1):
        raise LocalProtocolError(
            f"a control frame has at most {MAX_CONTROL_PAYLOAD} bytes, is not fragmented and not compressed"
        )
    first = opcode | (_FIN if fin else 0) | (_RSV1 if rsv1 else 0)
    if mask is None:
        return _encode_header(first, length, 0) + payload
    if len(mask) != 4:
        raise LocalProtocolError(f"a masking key has 4 bytes, not {len(mask)}")
    return _encode_header(first, length, _MASKED) + mask + apply_mask(payload, mask)


def _encode_header(first: int, length: int, masked: int) -> bytes:
    if length <= 125:
        return bytes((first, masked | length))
    if length <= 0xFFFF:
        return _HEADER_16.pack(first, masked | 126, length)
    return _HEADER_64.pack(first, masked | 127, length)


def encode_close(code: int | None = None, reason: str = "", *, mask: bytes | None = None) -> bytes:
    """A Close frame (section 5.5.1); without a code it is empty, which the peer sees as 1005.

    A reason over 123 bytes is cut at a character boundary. Raises LocalProtocolError for a code that may not
    travel.
    """
    if code is None:
        if reason:
            raise LocalProtocolError("a close reason needs a close code")
        return encode_frame(OP_CLOSE, b"", mask=mask)
    if not is_wire_close_code(code):
        raise LocalProtocolError(f"close code {code} may not be sent")
    text = reason.encode()[:MAX_CLOSE_REASON].decode(errors="ignore").encode()
    return encode_frame(OP_CLOSE, _LENGTH_16.pack(code) + text, mask=mask)


def encode_ping(payload: bytes = b"", *, mask: bytes | None = None) -> bytes:
    """A Ping frame (section 5.5.2); at most 125 bytes of payload."""
    return encode_frame(OP_PING, payload, mask=mask)


def encode_pong(payload: bytes, *, mask: bytes | None = None) -> bytes:
    """A Pong frame (section 5.5.3); the answer to a Ping repeats its payload."""
    return encode_frame(OP_PONG, payload, mask=mask)


def is_wire_close_code(code: int) -> bool:
    """Whether a Close frame may carry the code (section 7.4): registered ones and 3000 to 4999."""
    return code in _WIRE_CLOSE_CODES or 3000 <= code <= 4999


def parse_header(data: bytes, position: int, role: Role) -> FrameHeader | None:
    """The frame header that starts at `position`, as the given role receives it; None while incomplete.

    Raises RemoteWebSocketError (1002) for what sections 5.1, 5.2 and 5.5 forbid within one header, as soon as
    the bytes that show it are there. RSV1 is reported, not judged: its meaning belongs to an extension.
    """
    available = len(data) - position
    if available < 2:
        return None
    first, second = data[position], data[position + 1]
    _check_first_bytes(first, second, role)
    parsed = _parse_length(data, position + 2, second & 0x7F)
    if parsed is None:
        return None
    length, size = parsed
    key = None
    if second & _MASKED:
        key = data[position + size : position + size + 4]
        size += 4
        if available < size:
            return None
    return FrameHeader(first & 0x0F, first >= _FIN, first & _RSV1 != 0, length, key, size)


def _check_first_bytes(first: int, second: int, role: Role) -> None:
    opcode = first & 0x0F
    if first & _RSV_ALL & ~_RSV1:
        raise _protocol_error("the reserved bits RSV2 and RSV3 must be 0")
    if opcode not in _KNOWN_OPCODES:
        raise _protocol_error(f"opcode {opcode:#x} is reserved")
    if (second >= _MASKED) is not (role is Role.SERVER):
        raise _protocol_error(f"a frame to the {role.value} must {'' if role is Role.SERVER else 'not '}be masked")
    if opcode & _CONTROL:
        if first & (_RSV1 | _FIN) != _FIN:
            raise _protocol_error("a control frame must be neither fragmented nor compressed")
        if second & 0x7F > MAX_CONTROL_PAYLOAD:
            raise _protocol_error(f"a control frame has at most {MAX_CONTROL_PAYLOAD} bytes of payload")


def _parse_length(data: bytes, position: int, short: int) -> tuple[int, int] | None:
    """The payload length and the header's size up to the masking key, or None while incomplete."""
    if short < 126:
        return short, 2
    layout, lowest = (_LENGTH_16, 126) if short == 126 else (_LENGTH_64, 0x10000)
    if len(data) - position < layout.size:
        return None
    length: int = layout.unpack_from(data, position)[0]
    if length > MAX_FRAME_PAYLOAD:
        raise _protocol_error("the top bit of a 64-bit length must be 0")
    if length < lowest:
        raise _protocol_error(f"length {length} must be written in its shortest form")
    return length, 2 + layout.size


def _protocol_error(message: str) -> RemoteWebSocketError:
    return RemoteWebSocketError(CloseCode.PROTOCOL_ERROR, message)


# What an idle connection is sent, the same bytes for all.
PING_FRAME: Final = encode_ping()

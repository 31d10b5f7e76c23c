"""One table of frames and their bytes, read from left to right by the encoder's tests and back by the decoder's."""

from __future__ import annotations

from typing import NamedTuple

from protocol.websocket.frames import (
    OP_BINARY,
    OP_CLOSE,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    Role,
)
from protocol.websocket.receiver import Binary, Close, Event, Ping, Pong, Text

KEY = bytes.fromhex("37fa213d")


class Row(NamedTuple):
    """A frame of a whole message: what it means, and how it looks on the wire."""

    name: str
    event: Event
    opcode: int
    payload: bytes
    mask: bytes | None
    wire: bytes

    @property
    def receiving_role(self) -> Role:
        """Only what a client sends is masked, so a masked frame is one that a server receives."""
        return Role.CLIENT if self.mask is None else Role.SERVER


def _row(name: str, event: Event, opcode: int, payload: bytes, wire: str, mask: bytes | None = None) -> Row:
    return Row(name, event, opcode, payload, mask, bytes.fromhex(wire))


_LONG = bytes(range(256))
_HUGE = _LONG * 256

ROWS = (
    # The examples of RFC 6455, section 5.7.
    _row("rfc unmasked text", Text(b"Hello"), OP_TEXT, b"Hello", "8105 48656c6c6f"),
    _row("rfc masked text", Text(b"Hello"), OP_TEXT, b"Hello", "8185 37fa213d 7f9f4d5158", KEY),
    _row("rfc ping", Ping(b"Hello"), OP_PING, b"Hello", "8905 48656c6c6f"),
    _row("rfc masked pong", Pong(b"Hello"), OP_PONG, b"Hello", "8a85 37fa213d 7f9f4d5158", KEY),
    _row("rfc 256 bytes", Binary(_LONG), OP_BINARY, _LONG, "827e0100" + _LONG.hex()),
    _row("rfc 64 KiB", Binary(_HUGE), OP_BINARY, _HUGE, "827f0000000000010000" + _HUGE.hex()),
    # Every form of length at both of its ends.
    _row("empty text", Text(b""), OP_TEXT, b"", "8100"),
    _row("empty masked text", Text(b""), OP_TEXT, b"", "8180 37fa213d", KEY),
    _row("empty binary", Binary(b""), OP_BINARY, b"", "8200"),
    _row("125 bytes", Binary(_LONG[:125]), OP_BINARY, _LONG[:125], "827d" + _LONG[:125].hex()),
    _row("126 bytes", Binary(_LONG[:126]), OP_BINARY, _LONG[:126], "827e007e" + _LONG[:126].hex()),
    _row("65535 bytes", Binary(_HUGE[:65535]), OP_BINARY, _HUGE[:65535], "827effff" + _HUGE[:65535].hex()),
    _row("masked zeros", Binary(bytes(4)), OP_BINARY, bytes(4), "8284 37fa213d 37fa213d", KEY),
    _row("zero mask", Binary(b"ab"), OP_BINARY, b"ab", "8282 00000000 6162", bytes(4)),
    # Text of one to four bytes a character; the last has every mask offset.
    _row("text", Text("é弹🎉".encode()), OP_TEXT, "é弹🎉".encode(), "8109 c3a9 e5bcb9 f09f8e89"),
    _row("masked text", Text("弹幕".encode()), OP_TEXT, "弹幕".encode(), "8186 37fa213d d24698d88e6f", KEY),
    _row("NUL is text", Text(b"\0"), OP_TEXT, b"\0", "810100"),
    # Control frames.
    _row("empty ping", Ping(b""), OP_PING, b"", "8900"),
    _row("125 byte ping", Ping(_LONG[:125]), OP_PING, _LONG[:125], "897d" + _LONG[:125].hex()),
    _row("ping need not be text", Ping(b"\xff"), OP_PING, b"\xff", "8981 37fa213d c8", KEY),
    _row("empty pong", Pong(b""), OP_PONG, b"", "8a00"),
    _row("empty close", Close(1005, ""), OP_CLOSE, b"", "8800"),
    _row("close", Close(1000, ""), OP_CLOSE, b"\x03\xe8", "8802 03e8"),
    _row("masked close", Close(1000, "bye"), OP_CLOSE, b"\x03\xe8bye", "8885 37fa213d 3412434452", KEY),
    _row("close 4999", Close(4999, "弹"), OP_CLOSE, b"\x13\x87" + "弹".encode(), "8805 1387 e5bcb9"),
)

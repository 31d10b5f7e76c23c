"""Tests of protocol/websocket/frames.py."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codes import CloseCode
from protocol.errors import LocalProtocolError
from protocol.websocket.errors import RemoteWebSocketError
from protocol.websocket.frames import (
    OP_BINARY,
    OP_CLOSE,
    OP_CONTINUATION,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    PING_FRAME,
    FrameHeader,
    Role,
    apply_mask,
    encode_close,
    encode_frame,
    encode_ping,
    encode_pong,
    is_wire_close_code,
    parse_header,
)
from tests.protocol.websocket.rows import KEY, ROWS, Row


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_encodes(row: Row) -> None:
    """Every row of the table is encoded to its bytes."""
    assert encode_frame(row.opcode, row.payload, mask=row.mask) == row.wire


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_parses_header_at_any_position(row: Row) -> None:
    """A header is found where it begins, is incomplete before its last byte, and says how long it is."""
    size = len(row.wire) - len(row.payload)
    header = FrameHeader(row.opcode, True, False, len(row.payload), row.mask, size)
    assert parse_header(b"\xff\xff\xff" + row.wire, 3, row.receiving_role) == header
    for end in range(size):
        assert parse_header(row.wire[:end], 0, row.receiving_role) is None


def test_encodes_fragments_and_rsv1() -> None:
    """FIN and RSV1 are the caller's to set on data frames."""
    assert encode_frame(OP_TEXT, b"Hel", fin=False) == bytes.fromhex("0103 48656c")
    assert encode_frame(OP_CONTINUATION, b"lo") == bytes.fromhex("8002 6c6f")
    assert encode_frame(OP_BINARY, b"", rsv1=True) == bytes.fromhex("c200")
    assert parse_header(bytes.fromhex("c200"), 0, Role.CLIENT) == FrameHeader(2, True, True, 0, None, 2)


@settings(deadline=None)
@given(st.binary(max_size=2_000), st.binary(min_size=4, max_size=4))
def test_mask_is_xor_with_repeated_key(payload: bytes, key: bytes) -> None:
    """Masking is the XOR of byte i with key byte i mod 4, on both of its code paths, and undoes itself."""
    masked = apply_mask(payload, key)
    assert masked == bytes(byte ^ key[index % 4] for index, byte in enumerate(payload))
    assert apply_mask(masked, key) == payload


@pytest.mark.parametrize("length", [0, 1, 3, 4, 5, 511, 512, 513, 65_536])
def test_mask_at_the_change_of_method(length: int) -> None:
    """Short and long payloads are masked alike."""
    payload = bytes(index * 7 & 0xFF for index in range(length))
    assert apply_mask(payload, KEY) == bytes(byte ^ KEY[index % 4] for index, byte in enumerate(payload))


@pytest.mark.parametrize("opcode", [3, 7, 0xB, 0xF, 0x11])
def test_refuses_to_encode_reserved_opcode(opcode: int) -> None:
    """A frame that no peer would accept is our bug."""
    with pytest.raises(LocalProtocolError, match="reserved"):
        encode_frame(opcode, b"")


@pytest.mark.parametrize("opcode", [OP_CLOSE, OP_PING, OP_PONG])
def test_refuses_to_encode_bad_control_frame(opcode: int) -> None:
    """A control frame is short, whole and not compressed."""
    assert len(encode_frame(opcode, bytes(125))) == 127
    with pytest.raises(LocalProtocolError, match="125"):
        encode_frame(opcode, bytes(126))
    with pytest.raises(LocalProtocolError, match="fragmented"):
        encode_frame(opcode, b"", fin=False)
    with pytest.raises(LocalProtocolError, match="compressed"):
        encode_frame(opcode, b"", rsv1=True)


@pytest.mark.parametrize("key", [b"", b"abc", b"abcde"])
def test_refuses_to_encode_with_bad_key(key: bytes) -> None:
    """A masking key has exactly four bytes."""
    with pytest.raises(LocalProtocolError, match=f"4 bytes, not {len(key)}"):
        encode_frame(OP_TEXT, b"x", mask=key)


def test_encodes_control_frames() -> None:
    """The short forms are the frames of their names."""
    assert PING_FRAME == encode_ping() == encode_frame(OP_PING, b"")
    assert encode_ping(b"a", mask=KEY) == encode_frame(OP_PING, b"a", mask=KEY)
    assert encode_pong(b"a") == encode_frame(OP_PONG, b"a")
    assert encode_close() == encode_frame(OP_CLOSE, b"")
    assert encode_close(1001, "bye", mask=KEY) == encode_frame(OP_CLOSE, b"\x03\xe9bye", mask=KEY)


@pytest.mark.parametrize(("reason", "kept"), [("a" * 130, "a" * 123), ("弹" * 50, "弹" * 41), ("é" * 62, "é" * 61)])
def test_cuts_close_reason_between_characters(reason: str, kept: str) -> None:
    """A reason too long for a control frame loses whole characters at its end."""
    assert encode_close(1000, reason)[4:].decode() == kept


def test_refuses_to_encode_bad_close() -> None:
    """A code that may not travel, or a reason without a code, is our bug."""
    with pytest.raises(LocalProtocolError, match="1005"):
        encode_close(1005)
    with pytest.raises(LocalProtocolError, match="needs a close code"):
        encode_close(None, "why")


def test_close_codes_of_the_wire() -> None:
    """Exactly the registered codes and the two free ranges may travel (RFC 6455, 7.4, and the registry since)."""
    registered = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
    assert {code for code in range(65_536) if is_wire_close_code(code)} == registered | set(range(3000, 5000))


BAD_HEADERS = [
    ("a1 80", Role.SERVER, "RSV2"),
    ("91 80", Role.SERVER, "RSV2"),
    ("f1 80", Role.SERVER, "RSV2"),
    ("83 80", Role.SERVER, "opcode 0x3 is reserved"),
    ("87 80", Role.SERVER, "opcode 0x7 is reserved"),
    ("8b 80", Role.SERVER, "opcode 0xb is reserved"),
    ("8f 80", Role.SERVER, "opcode 0xf is reserved"),
    ("81 05", Role.SERVER, "to the server must be masked"),
    ("81 85", Role.CLIENT, "to the client must not be masked"),
    ("09 80", Role.SERVER, "neither fragmented nor compressed"),
    ("c9 80", Role.SERVER, "neither fragmented nor compressed"),
    ("88 fe", Role.SERVER, "at most 125 bytes"),
    ("8a ff", Role.SERVER, "at most 125 bytes"),
    ("82 7e 007d", Role.CLIENT, "length 125 must be written in its shortest form"),
    ("82 7e 0000", Role.CLIENT, "shortest form"),
    ("82 fe 007d", Role.SERVER, "shortest form"),
    ("82 7f 000000000000ffff", Role.CLIENT, "length 65535 must be written in its shortest form"),
    ("82 7f 8000000000000000", Role.CLIENT, "top bit"),
    ("82 ff ffffffffffffffff", Role.SERVER, "top bit"),
]


@pytest.mark.parametrize(("header", "role", "message"), BAD_HEADERS)
def test_refuses_bad_header_with_its_last_byte(header: str, role: Role, message: str) -> None:
    """A header that breaks the RFC is refused with 1002 by the byte that shows it, without waiting for more."""
    data = bytes.fromhex(header)
    assert parse_header(data[:-1], 0, role) is None
    with pytest.raises(RemoteWebSocketError, match=message) as caught:
        parse_header(data, 0, role)
    assert caught.value.close_code == CloseCode.PROTOCOL_ERROR


def test_accepts_longest_length() -> None:
    """The RFC's own limit is 2^63 - 1 bytes; ours is the receiver's business."""
    header = parse_header(bytes.fromhex("827f 7fffffffffffffff"), 0, Role.CLIENT)
    assert header is not None
    assert header.length == 2**63 - 1

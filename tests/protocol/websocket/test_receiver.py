"""Tests of protocol/websocket/receiver.py."""

from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codes import CloseCode
from protocol.websocket.errors import RemoteWebSocketError
from protocol.websocket.frames import (
    OP_BINARY,
    OP_CLOSE,
    OP_CONTINUATION,
    OP_PING,
    OP_TEXT,
    Role,
    encode_close,
    encode_frame,
    encode_ping,
)
from protocol.websocket.limits import MessageLimits
from protocol.websocket.receiver import Binary, Close, Event, FrameReceiver, Ping, Text, receive
from tests.protocol.websocket.rows import KEY, ROWS, Row
from tests.protocol.websocket.streams import (
    CUTS,
    MESSAGES,
    bytewise,
    encode_stream,
    run,
    run_one_receiver,
    split,
)

LIMITS = MessageLimits(65_536)
SMALL = MessageLimits(10)


def to_server(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv1: bool = False) -> bytes:
    """A frame as a client sends it."""
    return encode_frame(opcode, payload, fin=fin, rsv1=rsv1, mask=KEY)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_decodes_whole(row: Row) -> None:
    """Every row of the table is decoded to its event, and nothing is kept after it."""
    events, receiver = receive(row.wire, None, role=row.receiving_role, limits=LIMITS)
    assert events == [row.event]
    assert receiver is None or isinstance(row.event, Close)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_decodes_byte_by_byte(row: Row) -> None:
    """The last byte of a frame, and no byte before it, makes the event."""
    wire = row.wire if len(row.wire) < 1000 else row.wire[:20]
    whole = wire is row.wire
    assert run(bytewise(wire[:-1]), row.receiving_role, LIMITS) == ([], None)
    assert run(bytewise(wire), row.receiving_role, LIMITS) == ([row.event] if whole else [], None)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_decodes_with_tail(row: Row) -> None:
    """What follows a frame in the same bytes is kept and completed by the next; after a Close it is ignored."""
    mask = row.mask
    tail = encode_frame(OP_PING, b"tail", mask=mask)
    events, receiver = receive(row.wire + tail[:3], None, role=row.receiving_role, limits=LIMITS)
    assert events == [row.event]
    assert receiver is not None
    events, _ = receive(tail[3:], receiver, role=row.receiving_role, limits=LIMITS)
    assert events == ([] if isinstance(row.event, Close) else [Ping(b"tail")])


def test_decodes_rfc_fragmented_message() -> None:
    """The fragmented example of RFC 6455, section 5.7, is one message."""
    wire = bytes.fromhex("0103 48656c 8002 6c6f")
    assert run([wire], Role.CLIENT, LIMITS) == ([Text(b"Hello")], None)


def test_control_frames_between_fragments() -> None:
    """A control frame in the middle of a message comes first and leaves the message whole."""
    wire = to_server(OP_TEXT, b"a", fin=False) + to_server(OP_PING, b"p") + to_server(OP_CONTINUATION, b"b")
    expected: list[Event] = [Ping(b"p"), Text(b"ab")]
    assert run([wire], Role.SERVER, LIMITS) == (expected, None)
    assert run(bytewise(wire), Role.SERVER, LIMITS) == (expected, None)


def test_character_split_between_fragments() -> None:
    """A character may begin in one fragment and end in another, over empty fragments too."""
    first, rest = "弹".encode()[:1], "弹".encode()[1:]
    wire = [
        to_server(OP_TEXT, first, fin=False),
        to_server(OP_CONTINUATION, b"", fin=False),
        to_server(OP_CONTINUATION, rest),
    ]
    assert run(wire, Role.SERVER, LIMITS) == ([Text("弹".encode())], None)


def test_nothing_is_kept_at_rest() -> None:
    """Between messages there is no receiver; within a frame, a header or a message there is one."""
    frame = to_server(OP_TEXT, b"hello")
    for end in range(1, len(frame)):
        _, receiver = receive(frame[:end], None, role=Role.SERVER, limits=LIMITS)
        assert receiver is not None
        assert receive(frame[end:], receiver, role=Role.SERVER, limits=LIMITS) == ([Text(b"hello")], None)
    _, receiver = receive(to_server(OP_TEXT, b"h", fin=False), None, role=Role.SERVER, limits=LIMITS)
    assert receiver is not None
    assert receive(b"", None, role=Role.SERVER, limits=LIMITS) == ([], None)


def test_everything_after_close_is_ignored() -> None:
    """After a Close the receiver stays and discards what comes, even what would be an error."""
    events, receiver = receive(to_server(OP_CLOSE) + b"\xff\xff", None, role=Role.SERVER, limits=LIMITS)
    assert events == [Close(1005, "")]
    assert receiver is not None
    assert receiver.ended
    assert receive(b"\xff\xff\xff", receiver, role=Role.SERVER, limits=LIMITS) == ([], receiver)


def test_close_within_a_message_drops_it() -> None:
    """A Close between fragments ends the stream; the message it interrupts never appears."""
    wire = to_server(OP_TEXT, b"a", fin=False) + encode_close(1000, mask=KEY) + to_server(OP_CONTINUATION, b"b")
    assert run([wire], Role.SERVER, LIMITS) == ([Close(1000, "")], None)


def test_everything_after_an_error_is_ignored() -> None:
    """A receiver that refused its stream is ended and holds nothing."""
    receiver = FrameReceiver(Role.SERVER, LIMITS)
    receiver.feed(to_server(OP_TEXT, b"abc", fin=False))
    with pytest.raises(RemoteWebSocketError):
        receiver.feed(b"\xff\xff")
    assert receiver.ended
    assert receiver.feed(to_server(OP_PING)) == []
    assert repr(receiver) == "<FrameReceiver server ended buffered=0>"


def test_repr_shows_state() -> None:
    """The state is readable in a log: role, whether something is pending, how many bytes are held."""
    receiver = FrameReceiver(Role.CLIENT, LIMITS)
    assert repr(receiver) == "<FrameReceiver client at rest buffered=0>"
    receiver.feed(encode_frame(OP_TEXT, b"abc", fin=False) + encode_ping(b"xy")[:3])
    assert repr(receiver) == "<FrameReceiver client receiving buffered=4>"


def test_events_before_an_error_count() -> None:
    """What the same bytes completed before the fault is on the error."""
    with pytest.raises(RemoteWebSocketError) as caught:
        receive(to_server(OP_TEXT, b"ok") + b"\xff\xff", None, role=Role.SERVER, limits=LIMITS)
    assert caught.value.events == [Text(b"ok")]


SEQUENCE_ERRORS = [
    ("continuation first", to_server(OP_CONTINUATION, b"x"), "without a message"),
    ("continuation after a whole message", to_server(OP_TEXT) + to_server(OP_CONTINUATION), "without a message"),
    (
        "text within a message",
        to_server(OP_TEXT, fin=False) + to_server(OP_TEXT),
        "a new message began before the last frame",
    ),
    ("binary within a message", to_server(OP_TEXT, fin=False) + to_server(OP_BINARY), "a new message began"),
    ("RSV1 on text", to_server(OP_TEXT, rsv1=True), "no extension was negotiated"),
    (
        "RSV1 on a continuation",
        to_server(OP_TEXT, fin=False) + to_server(OP_CONTINUATION, rsv1=True),
        "0 in a continuation frame",
    ),
    ("close of one byte", to_server(OP_CLOSE, b"\x03"), "payload of 1 byte"),
    ("close 0", to_server(OP_CLOSE, b"\0\0"), "close code 0 may not be sent"),
    ("close 999", to_server(OP_CLOSE, b"\x03\xe7"), "close code 999"),
    ("close 1005", to_server(OP_CLOSE, b"\x03\xed"), "close code 1005"),
    ("close 5000", to_server(OP_CLOSE, b"\x13\x88"), "close code 5000"),
    ("close 65535", to_server(OP_CLOSE, b"\xff\xff"), "close code 65535"),
    ("unmasked", encode_frame(OP_TEXT, b"x"), "must be masked"),
]


@pytest.mark.parametrize(
    ("wire", "message"), [row[1:] for row in SEQUENCE_ERRORS], ids=[row[0] for row in SEQUENCE_ERRORS]
)
def test_refuses_protocol_errors(wire: bytes, message: str) -> None:
    """What section 5.4 and 5.5 forbid ends in 1002 and a message that names it, in whatever chunks it comes."""
    for chunks in ([wire], list(bytewise(wire))):
        _, error = run(chunks, Role.SERVER, LIMITS)
        assert error is not None
        assert error[0] == CloseCode.PROTOCOL_ERROR
        assert message in error[1]


def test_refuses_bad_close_reason() -> None:
    """A close reason is text (section 5.5.1)."""
    _, error = run([to_server(OP_CLOSE, b"\x03\xe8\xff")], Role.SERVER, LIMITS)
    assert error == (CloseCode.INVALID_PAYLOAD, "a close reason is not UTF-8")


def test_limit_is_exact() -> None:
    """A message of just the limit passes, whole or in fragments; one more byte does not."""
    assert run([to_server(OP_TEXT, b"x" * 10)], Role.SERVER, SMALL) == ([Text(b"x" * 10)], None)
    halves = to_server(OP_TEXT, b"x" * 5, fin=False) + to_server(OP_CONTINUATION, b"x" * 5)
    assert run([halves], Role.SERVER, SMALL) == ([Text(b"x" * 10)], None)
    assert run([to_server(OP_TEXT, b"x" * 11)], Role.SERVER, SMALL) == (
        [],
        (CloseCode.MESSAGE_TOO_BIG, "a message of 11 bytes is over the limit of 10"),
    )


def test_limit_is_judged_from_the_header() -> None:
    """The announcement of too long a payload is enough: nothing of it is awaited or held."""
    header = bytes.fromhex("82ff 0000010000000000 37fa213d")
    _, error = run([header], Role.SERVER, LIMITS)
    assert error == (CloseCode.MESSAGE_TOO_BIG, "a message of 1099511627776 bytes is over the limit of 65536")


def test_limit_covers_the_sum_of_fragments() -> None:
    """The header of the fragment that would go over the limit is refused, with control frames not counted."""
    wire = to_server(OP_BINARY, b"x" * 6, fin=False) + to_server(OP_PING, b"p" * 20)
    header_only = to_server(OP_CONTINUATION, b"x" * 5, fin=False)[:6]
    assert run([wire + header_only], Role.SERVER, SMALL) == (
        [Ping(b"p" * 20)],
        (CloseCode.MESSAGE_TOO_BIG, "a message of 11 bytes is over the limit of 10"),
    )


def _valid_prefixes() -> frozenset[bytes]:
    """Every proper beginning of every character of UTF-8; none depends on a code point's last six bits."""
    points = (point for point in range(0, 0x110000, 0x40) if not 0xD800 <= point < 0xE000)
    characters = (chr(max(point, 0x80)).encode() for point in points)
    return frozenset(character[:end] for character in characters for end in range(1, len(character)))


def test_text_is_refused_at_its_first_impossible_byte() -> None:
    """Exactly the beginnings of real characters are waited on; any other byte is refused when it arrives."""
    prefixes = _valid_prefixes()
    leads = [bytes((byte,)) for byte in range(0x80, 0x100)]
    pairs = [lead + bytes((byte,)) for lead in leads if lead in prefixes for byte in range(256)]
    triples = [pair + bytes((byte,)) for pair in pairs if pair in prefixes for byte in (0x7F, 0x80, 0xBF, 0xC0)]
    for sequence in chain(leads, pairs, triples):
        receiver = FrameReceiver(Role.CLIENT, LIMITS)
        receiver.feed(b"\x81\x7d" + sequence[:-1])
        complete = sequence not in prefixes and _is_utf8(sequence)
        if sequence in prefixes or complete:
            assert receiver.feed(sequence[-1:]) == []
        else:
            with pytest.raises(RemoteWebSocketError) as caught:
                receiver.feed(sequence[-1:])
            assert caught.value.close_code == CloseCode.INVALID_PAYLOAD


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize(
    "wire", [to_server(OP_TEXT, b"a\xe5\xbc"), to_server(OP_TEXT, b"a\xff"), to_server(OP_TEXT, b"\xed\xa0\x80")]
)
def test_whole_text_that_is_not_utf8(wire: bytes) -> None:
    """A text message that ends within a character, or has an impossible byte, is refused with 1007."""
    for chunks in ([wire], list(bytewise(wire))):
        assert run(chunks, Role.SERVER, LIMITS) == (
            [],
            (CloseCode.INVALID_PAYLOAD, "a text message is not UTF-8"),
        )


def test_binary_is_not_checked() -> None:
    """Only text is held to UTF-8, though fragments share an opcode."""
    wire = to_server(OP_BINARY, b"\xff", fin=False) + to_server(OP_CONTINUATION, b"\xfe")
    assert run([wire], Role.SERVER, LIMITS) == ([Binary(b"\xff\xfe")], None)


class Reversing:
    """An extension of the tests: an encoded message is its bytes backwards."""

    def decode(self, payload: bytes, limit_bytes: int) -> bytes:
        if len(payload) * 2 > limit_bytes:
            raise RemoteWebSocketError(CloseCode.MESSAGE_TOO_BIG, f"over {limit_bytes}")
        return payload[::-1]


def _with_extension(wire: bytes) -> list[Event]:
    return FrameReceiver(Role.SERVER, SMALL, Reversing()).feed(wire)


def test_extension_decodes_marked_messages() -> None:
    """An extension sees whole messages marked with RSV1, before text is checked, and no others."""
    text = "弹".encode()
    marked = to_server(OP_TEXT, text[::-1][:1], fin=False, rsv1=True) + to_server(OP_CONTINUATION, text[::-1][1:])
    plain = to_server(OP_TEXT, text)
    binary = to_server(OP_BINARY, b"\xfe\xff", rsv1=True)
    assert _with_extension(marked + plain + binary) == [Text(text), Text(text), Binary(b"\xff\xfe")]


def test_extension_output_is_judged() -> None:
    """Decoded text must be UTF-8, and the extension gets the message limit to keep."""
    with pytest.raises(RemoteWebSocketError) as caught:
        _with_extension(to_server(OP_TEXT, "弹".encode(), rsv1=True))
    assert caught.value.close_code == CloseCode.INVALID_PAYLOAD
    with pytest.raises(RemoteWebSocketError, match="over 10"):
        _with_extension(to_server(OP_BINARY, bytes(6), rsv1=True))


def test_receive_passes_the_extension() -> None:
    """`receive` gives the extension to the receiver it makes."""
    wire = to_server(OP_TEXT, b"ba", rsv1=True)
    assert receive(wire, None, role=Role.SERVER, limits=SMALL, extension=Reversing()) == ([Text(b"ab")], None)


@settings(deadline=None)
@given(MESSAGES, st.sampled_from(Role), st.integers(0, 2**32), CUTS)
def test_any_messages_round_trip(messages: list[Event], role: Role, seed: int, cuts: list[int]) -> None:
    """Messages in any fragments, with control frames anywhere between, in any chunks, arrive as they were."""
    wire, events = encode_stream(messages, role, seed)
    assert run(split(wire, cuts), role, LIMITS) == (events, None)
    assert run_one_receiver(split(wire, cuts), role, LIMITS) == (events, None)


_FIRST_BYTES = st.sampled_from([0x00, 0x01, 0x02, 0x80, 0x81, 0x82, 0x88, 0x89, 0x8A, 0x41, 0x83, 0xC1, 0x09])
_PAYLOADS = st.one_of(st.binary(max_size=9), st.text(max_size=4).map(str.encode))


@st.composite
def _hostile_frames(draw: st.DrawFn) -> bytes:
    """Something near a frame: legal and illegal first bytes, true and false lengths, any payload."""
    payload = draw(_PAYLOADS)
    length = draw(st.sampled_from([len(payload), len(payload), len(payload), 126, 127, 0]))
    mask = draw(st.sampled_from([0x80, 0x80, 0x80, 0x80, 0]))
    return bytes((draw(_FIRST_BYTES), mask | length)) + (bytes(4) if mask else b"") + payload


_HOSTILE = st.one_of(st.binary(max_size=60), st.lists(_hostile_frames(), max_size=8).map(b"".join))


@settings(deadline=None)
@given(_HOSTILE, st.sampled_from(Role), CUTS)
def test_any_bytes_are_parsed_or_refused(data: bytes, role: Role, cuts: list[int]) -> None:
    """Any bytes give events or the one documented error, the same in every chunking and with either receiver."""
    outcome = run([data], role, SMALL)
    assert run(split(data, cuts), role, SMALL) == outcome
    assert run(bytewise(data), role, SMALL) == outcome
    assert run_one_receiver(split(data, cuts), role, SMALL) == outcome
    assert outcome[1] is None or outcome[1][0] in (1002, 1007, 1009)

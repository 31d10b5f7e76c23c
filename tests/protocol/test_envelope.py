"""The tier envelope: one table of (message, bytes) serves the encoder, the decoder and the reader."""

import contextlib
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.envelope import (
    Ack,
    Broadcast,
    Counts,
    Envelope,
    EnvelopeReader,
    Hello,
    RoomPush,
    Submit,
    SubmitResult,
    Totals,
    Unknown,
    UserPush,
    decode,
    decode_block,
    encode,
    encode_block,
    encode_room_push,
    room_push_parts,
)
from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import ENVELOPE_MAX_BYTES
from protocol.message import Delivery, Message, Priority

BLOCK_ROWS: Final[list[tuple[list[Message], bytes]]] = [
    ([], b""),
    ([Message(b'"hi"')], b'\x02\x00\x00\x00\x04"hi"'),
    ([Message(b"1", Delivery.RELIABLE, Priority.LOW)], b"\x01\x00\x00\x00\x011"),
    (
        [Message(b"1", Delivery.LOSSY, Priority.HIGH), Message(b"", Delivery.RELIABLE, Priority.HIGH)],
        b"\x04\x00\x00\x00\x011\x05\x00\x00\x00\x00",
    ),
]

BLOCK: Final = BLOCK_ROWS[1][1]

ROWS: Final[list[tuple[Envelope, bytes]]] = [
    (Hello(7, "logic-a"), b"\x00\x00\x00\x12\x01\x01\x00\x00\x00\x00\x00\x00\x00\x07\x07logic-a"),
    (
        RoomPush("42", 77, 1007, 1_700_000_000_123, 1, BLOCK),
        b"\x00\x00\x00\x28\x01\x02"
        b"\x00\x00\x00\x00\x00\x00\x00\x4d"
        b"\x00\x00\x00\x00\x00\x00\x03\xef"
        b"\x00\x00\x01\x8b\xcf\xe5\x68\x7b"
        b"\x00\x01\x02"
        b"42" + BLOCK,
    ),
    (
        Broadcast(9, 3, 1, 1, BLOCK),
        b"\x00\x00\x00\x26\x01\x03"
        b"\x00\x00\x00\x00\x00\x00\x00\x09"
        b"\x00\x00\x00\x00\x00\x00\x00\x03"
        b"\x00\x00\x00\x00\x00\x00\x00\x01"
        b"\x00\x01\x00" + BLOCK,
    ),
    (
        UserPush("u@7", 9, 4, 1, 1, BLOCK),
        b"\x00\x00\x00\x29\x01\x04"
        b"\x00\x00\x00\x00\x00\x00\x00\x09"
        b"\x00\x00\x00\x00\x00\x00\x00\x04"
        b"\x00\x00\x00\x00\x00\x00\x00\x01"
        b"\x00\x01\x03u@7" + BLOCK,
    ),
    (SubmitResult(5, 1008), b"\x00\x00\x00\x13\x01\x05" + b"\x00" * 7 + b"\x05" + b"\x00" * 6 + b"\x03\xf0" + b"\x00"),
    (
        SubmitResult(5, 0, "rejected", "不"),
        b"\x00\x00\x00\x1e\x01\x05" + b"\x00" * 7 + b"\x05" + b"\x00" * 8 + b"\x08rejected\xe4\xb8\x8d",
    ),
    (
        Totals(3, (("a", 2), ("bb", 0))),
        b"\x00\x00\x00\x17\x01\x06\x00\x00\x00\x03\x00\x00\x00\x02\x00\x00\x00\x02\x01a\x00\x00\x00\x00\x02bb",
    ),
    (Ack(258), b"\x00\x00\x00\x0a\x01\x10\x00\x00\x00\x00\x00\x00\x01\x02"),
    (
        Submit(6, "42", b'{"id":"7"}', b'{"text":"x"}'),
        b"\x00\x00\x00\x25\x01\x11" + b"\x00" * 7 + b"\x06" + b'\x00\x0a\x0242{"id":"7"}{"text":"x"}',
    ),
    (Counts(True, False, 1, ()), b"\x00\x00\x00\x0b\x01\x12\x01\x00\x00\x00\x01\x00\x00\x00\x00"),
    (
        Counts(False, True, 1, (("a", 1),)),
        b"\x00\x00\x00\x11\x01\x12\x02\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01\x01a",
    ),
    (Unknown(99), b"\x00\x00\x00\x02\x01\x63"),
]

STREAM: Final = b"".join(raw for _, raw in ROWS)

u8s = st.integers(0, 2**8 - 1)
u16s = st.integers(0, 2**16 - 1)
u32s = st.integers(0, 2**32 - 1)
u64s = st.integers(0, 2**64 - 1)
names = st.text(max_size=60)
blocks = st.binary(max_size=200)
counted = st.lists(st.tuples(names, u32s), max_size=5).map(tuple)
messages = st.lists(
    st.builds(Message, st.binary(max_size=40), st.sampled_from(Delivery), st.sampled_from(Priority)), max_size=8
)
ENVELOPES: Final[dict[type, st.SearchStrategy[Envelope]]] = {
    Hello: st.builds(Hello, u64s, names),
    RoomPush: st.builds(RoomPush, names, u64s, u64s, u64s, u16s, blocks),
    Broadcast: st.builds(Broadcast, u64s, u64s, u64s, u16s, blocks),
    UserPush: st.builds(UserPush, names, u64s, u64s, u64s, u16s, blocks),
    SubmitResult: st.builds(SubmitResult, u64s, u64s, names, st.text()),
    Totals: st.builds(Totals, u32s, counted),
    Ack: st.builds(Ack, u64s),
    Submit: st.builds(Submit, u64s, names, st.binary(max_size=200), st.binary(max_size=200)),
    Counts: st.builds(Counts, st.booleans(), st.booleans(), u32s, counted),
}
envelopes = st.one_of(*ENVELOPES.values())


@pytest.mark.parametrize(("message", "raw"), ROWS, ids=lambda value: type(value).__name__)
def test_encodes_to_these_bytes(message: Envelope, raw: bytes) -> None:
    """Every kind has exactly this layout: it is a contract between processes of different versions."""
    assert encode(message) == raw


@pytest.mark.parametrize(("message", "raw"), ROWS, ids=lambda value: type(value).__name__)
def test_decodes_from_these_bytes(message: Envelope, raw: bytes) -> None:
    """The decoder gives back what the encoder was given."""
    assert decode(raw) == message


def test_the_table_has_every_kind() -> None:
    """No kind is missing from the table or from the property."""
    assert {type(message) for message, _ in ROWS} == {*ENVELOPES, Unknown}
    assert {type(message) for message, _ in ROWS} == set(Envelope.__args__)


@pytest.mark.parametrize("kind", ENVELOPES, ids=lambda kind: kind.__name__)
def test_round_trip(kind: type) -> None:
    """Any envelope of any kind survives encoding and decoding."""

    @given(ENVELOPES[kind])
    def check(message: Envelope) -> None:
        assert decode(encode(message)) == message

    check()


def test_reader_takes_everything_at_once() -> None:
    """A stream that arrives whole is cut at the envelope borders."""
    assert EnvelopeReader().feed(STREAM) == [raw for _, raw in ROWS]


def test_reader_takes_byte_by_byte() -> None:
    """A stream that arrives a byte at a time gives each envelope with its last byte and nothing before."""
    reader = EnvelopeReader()
    ends: list[int] = []
    got: list[bytes] = []
    for position in range(len(STREAM)):
        for raw in reader.feed(STREAM[position : position + 1]):
            got.append(raw)
            ends.append(position + 1)
    assert got == [raw for _, raw in ROWS]
    assert ends == [sum(len(raw) for _, raw in ROWS[: index + 1]) for index in range(len(ROWS))]


@pytest.mark.parametrize("tail_bytes", [1, 3, 4, 5, 12])
def test_reader_keeps_a_tail(tail_bytes: int) -> None:
    """The beginning of the next envelope waits for its rest."""
    (_, first), (_, second) = ROWS[:2]
    reader = EnvelopeReader()
    assert reader.feed(first + second[:tail_bytes]) == [first]
    assert reader.feed(b"") == []
    assert reader.feed(second[tail_bytes:]) == [second]


@given(st.lists(envelopes, max_size=6), st.data())
def test_reader_does_not_care_for_chunks(sent: list[Envelope], data: st.DataObject) -> None:
    """However the stream is cut, the same envelopes come out."""
    raw = b"".join(encode(message) for message in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
    reader = EnvelopeReader()
    got: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        got += reader.feed(raw[start:end])
    assert [decode(item) for item in got] == sent


@pytest.mark.parametrize("length", [0, 1, ENVELOPE_MAX_BYTES + 1, 2**32 - 1])
def test_reader_refuses_a_length_at_once(length: int) -> None:
    """A length out of range is refused before a byte of the envelope is stored, and the text names the limit."""
    with pytest.raises(RemoteProtocolError, match=rf"length {length} is outside 2 to {ENVELOPE_MAX_BYTES}"):
        EnvelopeReader().feed(length.to_bytes(4, "big"))


def test_the_largest_envelope_passes() -> None:
    """An envelope of exactly the limit is encoded, read and decoded; one byte more is our own mistake."""
    overhead = len(encode(Broadcast(1, 1, 1, 0, b""))) - 4
    largest = Broadcast(1, 1, 1, 0, bytes(ENVELOPE_MAX_BYTES - overhead))
    (raw,) = EnvelopeReader().feed(encode(largest))
    assert decode(raw) == largest
    with pytest.raises(LocalProtocolError, match=f"limit of {ENVELOPE_MAX_BYTES}"):
        encode(Broadcast(1, 1, 1, 0, largest.block + b"\0"))


@pytest.mark.parametrize(("message", "raw"), ROWS[:-1], ids=lambda value: type(value).__name__)
def test_a_cut_envelope_is_refused(message: Envelope, raw: bytes) -> None:
    """Every proper beginning of an envelope is refused, or is a shorter valid one whose block does not add up."""
    for size in range(len(raw)):
        cut = raw[:size]
        with pytest.raises(RemoteProtocolError):
            decode(cut)
        try:
            shorter = decode(max(size - 4, 0).to_bytes(4, "big") + cut[4:])
        except RemoteProtocolError:
            continue
        # The last field of these kinds runs to the end of the envelope: only a block can tell that it was cut.
        assert type(shorter) is type(message)
        assert isinstance(shorter, RoomPush | Broadcast | UserPush | Submit | SubmitResult)
        if isinstance(shorter, RoomPush | Broadcast | UserPush):
            with pytest.raises(RemoteProtocolError, match="message block"):
                decode_block(shorter.block, shorter.count)


def test_another_version_is_refused() -> None:
    """Another version may mean anything: it is refused by name, not guessed at."""
    raw = bytearray(ROWS[0][1])
    raw[4] = 2
    with pytest.raises(RemoteProtocolError, match="version 2 is not 1"):
        decode(bytes(raw))


@given(u8s.filter(lambda kind: kind not in {1, 2, 3, 4, 5, 6, 16, 17, 18}), st.binary(max_size=40))
def test_an_unknown_kind_is_skipped(kind: int, body: bytes) -> None:
    """A kind of a later version is no error, whatever is in it."""
    assert decode((len(body) + 2).to_bytes(4, "big") + bytes((1, kind)) + body) == Unknown(kind)


def test_names_must_be_utf_8() -> None:
    """A name that is not UTF-8 is refused like any other malformed field."""
    raw = ROWS[1][1].replace(b"\x0242", b"\x02\xff\xff")
    with pytest.raises(RemoteProtocolError, match="malformed"):
        decode(raw)


@given(st.binary(max_size=300))
def test_any_bytes_decode_or_are_refused(raw: bytes) -> None:
    """Whatever stands behind a valid prefix, the only error is RemoteProtocolError."""
    for envelope in (raw, len(raw).to_bytes(4, "big") + raw, (len(raw) + 1).to_bytes(4, "big") + b"\x01" + raw):
        with contextlib.suppress(RemoteProtocolError):
            decode(envelope)


@given(st.sampled_from([1, 2, 3, 4, 5, 6, 16, 17, 18]), st.binary(max_size=120))
def test_any_body_decodes_or_is_refused(kind: int, body: bytes) -> None:
    """Whatever stands in the body of a known kind, the only error is RemoteProtocolError."""
    with contextlib.suppress(RemoteProtocolError):
        message = decode((len(body) + 2).to_bytes(4, "big") + bytes((1, kind)) + body)
        if isinstance(message, RoomPush | Broadcast | UserPush):
            decode_block(message.block, message.count)


@given(st.binary(max_size=200), st.integers(0, 4))
def test_any_stream_is_cut_or_refused(raw: bytes, padding: int) -> None:
    """The reader raises RemoteProtocolError or gives envelopes that, with the tail, are what it was fed."""
    reader = EnvelopeReader()
    try:
        got = b"".join(reader.feed(bytes(padding) + raw))
    except RemoteProtocolError:
        return
    assert (bytes(padding) + raw).startswith(got)


@pytest.mark.parametrize(("items", "block"), BLOCK_ROWS)
def test_block_layout(items: list[Message], block: bytes) -> None:
    """Delivery is bit 0 and priority the bits above it, then a length, then the publisher's own bytes."""
    assert encode_block(items) == block
    assert decode_block(block, len(items)) == items


@given(messages)
def test_block_round_trip(items: list[Message]) -> None:
    """Any messages survive, their data byte for byte."""
    assert decode_block(encode_block(items), len(items)) == items


@pytest.mark.parametrize(
    ("block", "count"),
    [
        (BLOCK, 0),
        (BLOCK, 2),
        (BLOCK[:-1], 1),
        (BLOCK + b"\x02", 1),
        (b"\x06\x00\x00\x00\x00", 1),
        (b"\xff\x00\x00\x00\x00", 1),
        (b"\x02\xff\xff\xff\xff", 1),
    ],
    ids=["too few said", "too many said", "cut", "tail", "priority 3", "flags", "length"],
)
def test_a_bad_block_is_refused(block: bytes, count: int) -> None:
    """A block that is not exactly `count` messages is refused whole: a sequence must never slip."""
    with pytest.raises(RemoteProtocolError, match="message block"):
        decode_block(block, count)


@given(names, u64s, u64s, u64s, messages)
def test_the_script_can_join_a_room_push(room: str, epoch: int, seq: int, ts_ms: int, items: list[Message]) -> None:
    """Head, epoch, first sequence and tail joined are the very bytes of the encoded push."""
    block = encode_block(items)
    head, tail = room_push_parts(room, ts_ms, len(items), block)
    joined = encode_room_push(head, epoch, seq, tail)
    assert joined == encode(RoomPush(room, epoch, seq, ts_ms, len(items), block))


def test_the_script_s_parts_are_limited_too() -> None:
    """A push that is too large is found when its parts are made, before Redis hears of it."""
    with pytest.raises(LocalProtocolError, match="over the limit"):
        room_push_parts("r", 1, 0, bytes(ENVELOPE_MAX_BYTES))

"""The tier envelope: what travels between logic and gateway, on links and on Redis channels alike.

    u32 length of what follows | u8 version | u8 kind | body

All integers are big-endian. Names carry a one-byte length, texts and data a four-byte length. A room push puts its
epoch and first sequence directly behind the kind, so that the Redis script which assigns them can write them between
two strings it was given, without looking into either.

A reader refuses other versions and skips kinds it does not know, so new kinds need no new version.
"""

from collections.abc import Callable, Iterable, Sequence
from struct import Struct
from struct import error as StructError
from typing import Final

import msgspec

from protocol.errors import LocalProtocolError, RemoteProtocolError
from protocol.limits import ENVELOPE_MAX_BYTES
from protocol.message import Delivery, Message, Priority

VERSION: Final = 1

HELLO: Final = 1
ROOM_PUSH: Final = 2
BROADCAST: Final = 3
USER_PUSH: Final = 4
SUBMIT_RESULT: Final = 5
TOTALS: Final = 6
ACK: Final = 16
SUBMIT: Final = 17
COUNTS: Final = 18

_PREFIX: Final = Struct(">IBB")
_LENGTH: Final = Struct(">I")
_ROOM_HEAD: Final = Struct(">QQQHB")
_ADDRESSED_HEAD: Final = Struct(">QQQHB")
_MESSAGE_HEAD: Final = Struct(">BI")
_U64: Final = Struct(">Q")
_COUNT_ITEM: Final = Struct(">IB")
_COUNTS_HEAD: Final = Struct(">BII")
_TOTALS_HEAD: Final = Struct(">II")
_SUBMIT_HEAD: Final = Struct(">QHB")
_RESULT_HEAD: Final = Struct(">QQ")


class Hello(msgspec.Struct, frozen=True):
    """The first envelope in both directions: who speaks. `instance` is new with every start of a process."""

    instance: int
    name: str


class RoomPush(msgspec.Struct, frozen=True):
    """Messages of one room with sequences `first_seq` to `first_seq + count - 1` of `epoch`.

    `block` is the messages still encoded: a gateway that has the other path's copy, or no member, never decodes it.
    """

    room: str
    epoch: int
    first_seq: int
    ts_ms: int
    count: int
    block: bytes


class Broadcast(msgspec.Struct, frozen=True):
    """Messages to every connection, told apart by the publishing instance and its counter."""

    instance: int
    counter: int
    ts_ms: int
    count: int
    block: bytes


class UserPush(msgspec.Struct, frozen=True):
    """Messages to every connection of a user, told apart by the publishing instance and its counter."""

    user: str
    instance: int
    counter: int
    ts_ms: int
    count: int
    block: bytes


class Submit(msgspec.Struct, frozen=True):
    """A viewer's own message on its way up. `ref` is the gateway's; `identity` is the viewer's claims as JSON."""

    ref: int
    room: str
    identity: bytes
    data: bytes


class SubmitResult(msgspec.Struct, frozen=True):
    """The answer to a Submit: a sequence, or an error code and text (empty when it was accepted)."""

    ref: int
    seq: int
    code: str = ""
    message: str = ""


class Ack(msgspec.Struct, frozen=True):
    """How many pushes the gateway has taken from this link since it opened: cumulative, like TCP's."""

    received: int


class Counts(msgspec.Struct, frozen=True):
    """Viewers per room on one gateway. A snapshot replaces what was known; otherwise only changes are listed, 0 = gone.

    `wants_totals` asks this logic (one of several) to send back the sums over all gateways.
    """

    snapshot: bool
    wants_totals: bool
    connections: int
    rooms: tuple[tuple[str, int], ...]


class Totals(msgspec.Struct, frozen=True):
    """Viewers per room over all gateways, for the rooms whose sum changed."""

    connections: int
    rooms: tuple[tuple[str, int], ...]


class Unknown(msgspec.Struct, frozen=True):
    """A kind this version does not know: to be skipped."""

    kind: int


Envelope = Hello | RoomPush | Broadcast | UserPush | Submit | SubmitResult | Ack | Counts | Totals | Unknown


# ---------------------------------------------------------------------------------------------- encoding


def encode_block(messages: Iterable[Message]) -> bytes:
    """Encode messages for the `block` of a push."""
    parts: list[bytes] = []
    for message in messages:
        parts.append(_MESSAGE_HEAD.pack(message.delivery | message.priority << 1, len(message.data)))
        parts.append(message.data)
    return b"".join(parts)


def room_push_parts(room: str, ts_ms: int, count: int, block: bytes) -> tuple[bytes, bytes]:
    """Return what stands before and behind a room push's epoch and first sequence: the Redis script joins them."""
    name = room.encode()
    tail = _ROOM_TAIL.pack(ts_ms, count, len(name)) + name + block
    return _prefix(ROOM_PUSH, 16 + len(tail)), tail


_ROOM_TAIL: Final = Struct(">QHB")


def encode_room_push(head: bytes, epoch: int, first_seq: int, tail: bytes) -> bytes:
    """Join the parts of a room push, exactly as the Redis script does."""
    return head + _U64.pack(epoch) + _U64.pack(first_seq) + tail


def encode(envelope: Envelope) -> bytes:
    """Encode any envelope whole, length included."""
    kind, body = _ENCODERS[type(envelope)](envelope)
    return _prefix(kind, len(body)) + body


def _prefix(kind: int, body_bytes: int) -> bytes:
    length = body_bytes + 2
    if length > ENVELOPE_MAX_BYTES:
        raise LocalProtocolError(f"envelope of {length} bytes is over the limit of {ENVELOPE_MAX_BYTES}")
    return _PREFIX.pack(length, VERSION, kind)


def _name(text: str) -> bytes:
    raw = text.encode()
    return bytes((len(raw),)) + raw


def _room_push(e: RoomPush) -> tuple[int, bytes]:
    name = e.room.encode()
    return ROOM_PUSH, _ROOM_HEAD.pack(e.epoch, e.first_seq, e.ts_ms, e.count, len(name)) + name + e.block


def _broadcast(e: Broadcast) -> tuple[int, bytes]:
    return BROADCAST, _ADDRESSED_HEAD.pack(e.instance, e.counter, e.ts_ms, e.count, 0) + e.block


def _user_push(e: UserPush) -> tuple[int, bytes]:
    name = e.user.encode()
    return USER_PUSH, _ADDRESSED_HEAD.pack(e.instance, e.counter, e.ts_ms, e.count, len(name)) + name + e.block


def _submit(e: Submit) -> tuple[int, bytes]:
    room = e.room.encode()
    return SUBMIT, _SUBMIT_HEAD.pack(e.ref, len(e.identity), len(room)) + room + e.identity + e.data


def _submit_result(e: SubmitResult) -> tuple[int, bytes]:
    return SUBMIT_RESULT, _RESULT_HEAD.pack(e.ref, e.seq) + _name(e.code) + e.message.encode()


def _counts(e: Counts) -> tuple[int, bytes]:
    head = _COUNTS_HEAD.pack(e.snapshot | e.wants_totals << 1, e.connections, len(e.rooms))
    return COUNTS, head + _pack_rooms(e.rooms)


def _totals(e: Totals) -> tuple[int, bytes]:
    return TOTALS, _TOTALS_HEAD.pack(e.connections, len(e.rooms)) + _pack_rooms(e.rooms)


def _pack_rooms(rooms: Sequence[tuple[str, int]]) -> bytes:
    parts: list[bytes] = []
    for room, count in rooms:
        name = room.encode()
        parts.append(_COUNT_ITEM.pack(count, len(name)))
        parts.append(name)
    return b"".join(parts)


_ENCODERS: Final[dict[type, Callable[..., tuple[int, bytes]]]] = {
    Hello: lambda e: (HELLO, _U64.pack(e.instance) + _name(e.name)),
    RoomPush: _room_push,
    Broadcast: _broadcast,
    UserPush: _user_push,
    Submit: _submit,
    SubmitResult: _submit_result,
    Ack: lambda e: (ACK, _U64.pack(e.received)),
    Counts: _counts,
    Totals: _totals,
    Unknown: lambda e: (e.kind, b""),
}


# ---------------------------------------------------------------------------------------------- decoding


def decode(envelope: bytes) -> Envelope:
    """Decode one whole envelope, length included; raise RemoteProtocolError for anything malformed."""
    try:
        length, version, kind = _PREFIX.unpack_from(envelope)
        if length != len(envelope) - 4:
            raise RemoteProtocolError(f"envelope says {length} bytes and has {len(envelope) - 4}")
        if version != VERSION:
            raise RemoteProtocolError(f"envelope version {version} is not {VERSION}")
        decoder = _DECODERS.get(kind)
        return Unknown(kind) if decoder is None else decoder(envelope)
    except (StructError, IndexError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"envelope is malformed: {error}") from error


def decode_block(block: bytes, count: int) -> list[Message]:
    """Decode the messages of a push; raise RemoteProtocolError when they are not exactly `count`."""
    messages: list[Message] = []
    position, end = 0, len(block)
    unpack, head = _MESSAGE_HEAD.unpack_from, _MESSAGE_HEAD.size
    try:
        while position < end:
            flags, length = unpack(block, position)
            position += head + length
            messages.append(Message(block[position - length : position], _DELIVERY[flags & 1], _PRIORITY[flags >> 1]))
    except (StructError, IndexError) as error:
        raise RemoteProtocolError(f"message block is malformed: {error}") from error
    if position != end or len(messages) != count:
        raise RemoteProtocolError(f"message block has {len(messages)} messages, not {count}, or is cut short")
    return messages


class EnvelopeReader:
    """Cuts a byte stream into envelopes, however it arrives. Holds at most one incomplete envelope."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes, return the envelopes they complete; raise RemoteProtocolError when one is over the limit."""
        buffer = self._buffer + data if self._buffer else data
        envelopes: list[bytes] = []
        position, end = 0, len(buffer)
        while end - position >= 4:
            (length,) = _LENGTH.unpack_from(buffer, position)
            if not 2 <= length <= ENVELOPE_MAX_BYTES:
                raise RemoteProtocolError(f"envelope length {length} is outside 2 to {ENVELOPE_MAX_BYTES}")
            if end - position < 4 + length:
                break
            envelopes.append(buffer[position : position + 4 + length])
            position += 4 + length
        self._buffer = buffer[position:]
        return envelopes


_DELIVERY: Final = (Delivery.LOSSY, Delivery.RELIABLE)
_PRIORITY: Final = (Priority.LOW, Priority.NORMAL, Priority.HIGH)
_BODY: Final = _PREFIX.size


def _text(raw: bytes, start: int, length: int) -> str:
    if len(raw) < start + length:
        raise RemoteProtocolError("envelope is cut short")
    return raw[start : start + length].decode()


def _decode_hello(raw: bytes) -> Hello:
    (instance,) = _U64.unpack_from(raw, _BODY)
    return Hello(instance, _text(raw, _BODY + 9, raw[_BODY + 8]))


def _decode_room_push(raw: bytes) -> RoomPush:
    epoch, first_seq, ts_ms, count, length = _ROOM_HEAD.unpack_from(raw, _BODY)
    name = _BODY + _ROOM_HEAD.size
    return RoomPush(_text(raw, name, length), epoch, first_seq, ts_ms, count, raw[name + length :])


def _decode_broadcast(raw: bytes) -> Broadcast:
    instance, counter, ts_ms, count, _ = _ADDRESSED_HEAD.unpack_from(raw, _BODY)
    return Broadcast(instance, counter, ts_ms, count, raw[_BODY + _ADDRESSED_HEAD.size :])


def _decode_user_push(raw: bytes) -> UserPush:
    instance, counter, ts_ms, count, length = _ADDRESSED_HEAD.unpack_from(raw, _BODY)
    name = _BODY + _ADDRESSED_HEAD.size
    return UserPush(_text(raw, name, length), instance, counter, ts_ms, count, raw[name + length :])


def _decode_submit(raw: bytes) -> Submit:
    ref, identity_length, room_length = _SUBMIT_HEAD.unpack_from(raw, _BODY)
    start = _BODY + _SUBMIT_HEAD.size
    room = _text(raw, start, room_length)
    start += room_length
    if len(raw) < start + identity_length:
        raise RemoteProtocolError("envelope is cut short")
    return Submit(ref, room, raw[start : start + identity_length], raw[start + identity_length :])


def _decode_submit_result(raw: bytes) -> SubmitResult:
    ref, seq = _RESULT_HEAD.unpack_from(raw, _BODY)
    start = _BODY + _RESULT_HEAD.size
    code = _text(raw, start + 1, raw[start])
    return SubmitResult(ref, seq, code, raw[start + 1 + raw[start] :].decode())


def _decode_ack(raw: bytes) -> Ack:
    return Ack(_U64.unpack_from(raw, _BODY)[0])


def _decode_counts(raw: bytes) -> Counts:
    flags, connections, count = _COUNTS_HEAD.unpack_from(raw, _BODY)
    return Counts(bool(flags & 1), bool(flags & 2), connections, _rooms(raw, _BODY + _COUNTS_HEAD.size, count))


def _decode_totals(raw: bytes) -> Totals:
    connections, count = _TOTALS_HEAD.unpack_from(raw, _BODY)
    return Totals(connections, _rooms(raw, _BODY + _TOTALS_HEAD.size, count))


def _rooms(raw: bytes, position: int, count: int) -> tuple[tuple[str, int], ...]:
    rooms: list[tuple[str, int]] = []
    for _ in range(count):
        online, length = _COUNT_ITEM.unpack_from(raw, position)
        position += _COUNT_ITEM.size
        rooms.append((_text(raw, position, length), online))
        position += length
    return tuple(rooms)


_DECODERS: Final[dict[int, Callable[[bytes], Envelope]]] = {
    HELLO: _decode_hello,
    ROOM_PUSH: _decode_room_push,
    BROADCAST: _decode_broadcast,
    USER_PUSH: _decode_user_push,
    SUBMIT: _decode_submit,
    SUBMIT_RESULT: _decode_submit_result,
    ACK: _decode_ack,
    COUNTS: _decode_counts,
    TOTALS: _decode_totals,
}

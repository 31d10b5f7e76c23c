"""Feeding streams in chunks, and making streams of messages, for the tests of both roles."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise

from hypothesis import strategies as st

from protocol.websocket.errors import RemoteWebSocketError
from protocol.websocket.frames import (
    OP_BINARY,
    OP_CONTINUATION,
    OP_PING,
    OP_PONG,
    OP_TEXT,
    Role,
    encode_frame,
)
from protocol.websocket.limits import MessageLimits
from protocol.websocket.receiver import Binary, Event, FrameReceiver, Ping, Pong, Text, receive

Outcome = tuple[list[Event], tuple[int, str] | None]


def run(chunks: Iterable[bytes], role: Role, limits: MessageLimits) -> Outcome:
    """All events of the chunks through `receive`, and the close code and message of the error that ended them."""
    events: list[Event] = []
    receiver: FrameReceiver | None = None
    for chunk in chunks:
        try:
            new, receiver = receive(chunk, receiver, role=role, limits=limits)
        except RemoteWebSocketError as error:
            return events + list(error.events), (error.close_code, error.message)
        events += new
    return events, None


def run_one_receiver(chunks: Iterable[bytes], role: Role, limits: MessageLimits) -> Outcome:
    """The same through one FrameReceiver that lives as long as the connection."""
    events: list[Event] = []
    receiver = FrameReceiver(role, limits)
    for chunk in chunks:
        try:
            events += receiver.feed(chunk)
        except RemoteWebSocketError as error:
            return events + list(error.events), (error.close_code, error.message)
    return events, None


def split(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    """The data cut at these places; a place past the end wraps around."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return (data[start:end] for start, end in pairwise(places))


def bytewise(data: bytes) -> Iterator[bytes]:
    """The data one byte at a time."""
    return (data[index : index + 1] for index in range(len(data)))


CUTS = st.lists(st.integers(0, 10_000), max_size=12)

_TEXTS = st.text(max_size=40).map(lambda text: Text(text.encode()))
_BINARIES = st.binary(max_size=300).map(Binary)
MESSAGES = st.lists(st.one_of(_TEXTS, _BINARIES), max_size=6)


def encode_stream(messages: Sequence[Event], role: Role, seed: int) -> tuple[bytes, list[Event]]:
    """The messages in random fragments with control frames between, as `role` receives them; and all events."""
    choose = random.Random(seed)
    wire: list[bytes] = []
    events: list[Event] = []

    def emit(opcode: int, payload: bytes, *, fin: bool = True) -> None:
        mask = choose.randbytes(4) if role is Role.SERVER else None
        wire.append(encode_frame(opcode, payload, fin=fin, mask=mask))

    for message in messages:
        assert isinstance(message, Text | Binary)
        cuts = (choose.randrange(len(message.payload) + 1) for _ in range(choose.randrange(4)))
        opcode = OP_TEXT if isinstance(message, Text) else OP_BINARY
        for part in split(message.payload, cuts):
            emit(opcode, part, fin=False)
            opcode = OP_CONTINUATION
            if choose.random() < 0.3:
                control: Ping | Pong = choose.choice((Ping, Pong))(choose.randbytes(choose.randrange(126)))
                emit(OP_PING if isinstance(control, Ping) else OP_PONG, control.payload)
                events.append(control)
        emit(opcode, b"")
        events.append(message)
    return b"".join(wire), events

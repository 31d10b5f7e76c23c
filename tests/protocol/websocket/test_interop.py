"""Both roles against an independent implementation: the sans-IO half of the `websockets` library."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol
from websockets.protocol import State as TheirState
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from protocol.websocket.errors import RemoteHandshakeError
from protocol.websocket.frames import (
    OP_BINARY,
    OP_CONTINUATION,
    OP_PING,
    OP_TEXT,
    Role,
    encode_close,
    encode_frame,
    encode_ping,
)
from protocol.websocket.handshake import (
    accept_upgrade,
    build_request,
    check_response,
    error_response,
    is_upgrade,
    parse_request_head,
)
from protocol.websocket.limits import MESSAGE_LIMITS
from protocol.websocket.receiver import Binary, Close, Event, Ping, Pong, Text
from protocol.websocket.session import answer_close
from tests.protocol.websocket.streams import CUTS, MESSAGES, encode_stream, run, split

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
CHAT = Subprotocol("chat")


def _sent(peer: Protocol) -> bytes:
    """What the library wants to send, without its wish to close TCP (an empty bytes object)."""
    return b"".join(peer.data_to_send())


def _their_frames(peer: Protocol, data: bytes) -> list[Frame]:
    peer.receive_data(data)
    return [event for event in peer.events_received() if isinstance(event, Frame)]


def _open_their_server() -> ServerProtocol:
    """The library's server after a handshake with our client."""
    server = ServerProtocol(subprotocols=[CHAT], max_size=None)
    server.receive_data(build_request("a.example", "/ws?x=1", KEY, subprotocols=["other", "chat"]))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    response = _sent(server)
    established = check_response(response, KEY, subprotocols=["other", "chat"])
    assert established is not None
    assert (established.consumed, established.subprotocol) == (len(response), "chat")
    return server


def _open_their_client() -> ClientProtocol:
    """The library's client after a handshake with our server."""
    client = ClientProtocol(parse_uri("ws://a.example/ws?x=1"), subprotocols=[CHAT], max_size=None)
    client.send_request(client.connect())
    head = parse_request_head(_sent(client))
    assert head is not None
    assert is_upgrade(head)
    assert (head.path, head.query) == ("/ws", {"x": "1"})
    client.receive_data(accept_upgrade(head, subprotocols=["chat"]).response)
    assert client.handshake_exc is None
    assert client.subprotocol == "chat"
    client.events_received()
    return client


def _open(role: Role) -> Protocol:
    """The library's peer of our role."""
    return _open_their_client() if role is Role.SERVER else _open_their_server()


@pytest.mark.parametrize("role", Role, ids=str)
def test_handshake(role: Role) -> None:
    """Our handshake and theirs agree, subprotocol included, whichever of us is the client."""
    assert _open(role).state is TheirState.OPEN


def test_their_refusal_reaches_our_client() -> None:
    """A refusal by their server is an error with its status."""
    server = ServerProtocol()
    server.send_response(server.reject(503, "full\n"))
    with pytest.raises(RemoteHandshakeError) as caught:
        check_response(_sent(server), KEY)
    assert caught.value.status == 503


def test_our_refusal_reaches_their_client() -> None:
    """Their client reads our refusal, its status and its body."""
    client = ClientProtocol(parse_uri("ws://a.example/"))
    client.send_request(client.connect())
    client.receive_data(error_response(503, "full"))
    client.receive_eof()
    assert client.handshake_exc is not None
    assert "503" in str(client.handshake_exc)


def _our_role_receives(role: Role, frames: list[tuple[Opcode, bytes, bool]]) -> list[Event]:
    peer = _open(role)
    for opcode, payload, fin in frames:
        if opcode is Opcode.TEXT:
            peer.send_text(payload, fin=fin)
        elif opcode is Opcode.BINARY:
            peer.send_binary(payload, fin=fin)
        elif opcode is Opcode.PING:
            peer.send_ping(payload)
        elif opcode is Opcode.PONG:
            peer.send_pong(payload)
        else:
            peer.send_continuation(payload, fin=fin)
    events, error = run([_sent(peer)], role, MESSAGE_LIMITS)
    assert error is None
    return events


@pytest.mark.parametrize("role", Role, ids=str)
def test_we_read_their_frames(role: Role) -> None:
    """Their frames of every kind and length, fragments too, are our events."""
    frames = [
        (Opcode.TEXT, "弹".encode()[:1], False),
        (Opcode.PING, b"p", True),
        (Opcode.CONT, "弹".encode()[1:], True),
        (Opcode.PONG, b"", True),
        *[(Opcode.BINARY, b"x" * length, True) for length in (0, 125, 126, 20_000)],
    ]
    assert _our_role_receives(role, frames) == [
        Ping(b"p"),
        Text("弹".encode()),
        Pong(b""),
        *[Binary(b"x" * length) for length in (0, 125, 126, 20_000)],
    ]


@settings(deadline=None)
@given(MESSAGES, st.sampled_from(Role), st.integers(0, 2**32), CUTS)
def test_they_read_our_frames(messages: list[Event], role: Role, seed: int, cuts: list[int]) -> None:
    """Our frames in any fragments and chunks are their frames, with the same messages in them."""
    peer = _open(Role.CLIENT if role is Role.SERVER else Role.SERVER)
    wire, events = encode_stream(messages, role, seed)
    frames = [frame for chunk in split(wire, cuts) for frame in _their_frames(peer, chunk)]
    assert peer.state is TheirState.OPEN
    assert _assemble(frames) == events


def _assemble(frames: list[Frame]) -> list[Event]:
    """Whole messages from the library's frames."""
    events: list[Event] = []
    parts: list[bytes] = []
    opcode = Opcode.CONT
    for frame in frames:
        data = bytes(frame.data)
        if frame.opcode in (Opcode.PING, Opcode.PONG):
            events.append(Ping(data) if frame.opcode is Opcode.PING else Pong(data))
            continue
        opcode = opcode if frame.opcode is Opcode.CONT else frame.opcode
        parts.append(data)
        if frame.fin:
            whole = b"".join(parts)
            events.append(Text(whole) if opcode is Opcode.TEXT else Binary(whole))
            parts = []
    return events


def _mask(role: Role) -> bytes | None:
    return b"\x01\x02\x03\x04" if role is Role.CLIENT else None


@pytest.mark.parametrize("role", Role, ids=str)
def test_they_answer_our_ping_and_close(role: Role) -> None:
    """Their automatic Pong and Close answer ours in either role."""
    peer = _open(role)
    _their_frames(peer, encode_ping(b"p", mask=_mask(role)) + encode_close(4001, "why", mask=_mask(role)))
    assert run([_sent(peer)], role, MESSAGE_LIMITS) == ([Pong(b"p"), Close(4001, "why")], None)
    peer.receive_eof()
    assert (peer.close_code, peer.close_reason) == (4001, "why")


@pytest.mark.parametrize("role", Role, ids=str)
@pytest.mark.parametrize("code", [None, 1000, 4001])
def test_we_answer_their_close(role: Role, code: int | None) -> None:
    """Our answer completes the close handshake that they began."""
    peer = _open(role)
    peer.send_close(code)
    (close,), _ = run([_sent(peer)], role, MESSAGE_LIMITS)
    assert isinstance(close, Close)
    peer.receive_data(answer_close(close, mask=_mask(role)))
    peer.receive_eof()
    assert peer.state is TheirState.CLOSED
    assert peer.close_code == (code or 1005)


BAD_STREAMS = [
    encode_frame(OP_CONTINUATION, b"x"),
    encode_frame(OP_TEXT, b"x", fin=False) + encode_frame(OP_BINARY, b"y"),
    encode_frame(OP_TEXT, b"x", mask=b"abcd"),
    bytes((0x09, 0)),
    bytes((0x83, 0)),
    bytes((0xC1, 0)),
    bytes((0x89, 126, 0, 126)) + bytes(126),
    bytes((0x88, 1, 3)),
    bytes((0x88, 2, 3, 0xED)),
    bytes((0x88, 3, 3, 0xE8, 0xFF)),
    encode_frame(OP_PING, b"ok") + bytes((0xF0, 0)),
]


@pytest.mark.parametrize("stream", BAD_STREAMS, ids=lambda stream: stream[:8].hex())
def test_we_refuse_what_they_refuse(stream: bytes) -> None:
    """Both refuse the same streams, with the same close code."""
    peer = _open_their_client()
    peer.receive_data(stream)
    _, error = run([stream], Role.CLIENT, MESSAGE_LIMITS)
    assert error is not None
    answers, _ = run([_sent(peer)], Role.SERVER, MESSAGE_LIMITS)
    assert isinstance(answers[-1], Close)
    assert error[0] == answers[-1].code

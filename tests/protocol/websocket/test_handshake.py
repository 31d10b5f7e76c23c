"""Tests of protocol/websocket/handshake.py: both roles, against the RFC's example and against each other."""

from __future__ import annotations

import json

import pytest

from protocol.errors import LocalProtocolError
from protocol.websocket.errors import RemoteHandshakeError, RemoteHttpError
from protocol.websocket.handshake import (
    RequestHead,
    accept_key,
    accept_upgrade,
    build_request,
    check_response,
    error_response,
    is_upgrade,
    parse_request_head,
)
from protocol.websocket.limits import HeadLimits
from tests.protocol.websocket.corpus import CASES, Case

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
CONSENT = [
    "HTTP/1.1 101 Switching Protocols",
    "Upgrade: websocket",
    "Connection: Upgrade",
    f"Sec-WebSocket-Accept: {ACCEPT}",
]
UPGRADES = [case for case in CASES if "upgrade" in case.expect]


def _head(data: bytes) -> RequestHead:
    head = parse_request_head(data)
    assert head is not None
    return head


def _response(*lines: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()


def test_accept_key_of_the_rfc() -> None:
    """The key of RFC 6455, section 1.3, has the answer given there."""
    assert accept_key(KEY) == ACCEPT


@pytest.mark.parametrize("case", UPGRADES, ids=lambda case: case.name)
def test_upgrades_of_the_corpus(case: Case) -> None:
    """A request is recognised as an upgrade and accepted, or refused with the documented status and message."""
    head, expected = _head(case.raw), case.expect["upgrade"]
    if expected == "yes":
        assert is_upgrade(head)
        assert accept_upgrade(head).response == _response(*CONSENT)
    elif expected == "no":
        assert not is_upgrade(head)
    else:
        with pytest.raises(RemoteHttpError) as caught:
            accept_upgrade(head)
        assert caught.value.status == int(expected)
        assert case.expect["message"] in caught.value.message


@pytest.mark.parametrize("case", UPGRADES, ids=lambda case: case.name)
def test_refusals_say_what_would_do(case: Case) -> None:
    """A refusal has the header that its status demands: Allow, Upgrade, Sec-WebSocket-Version."""
    if case.expect["upgrade"] in ("yes", "no"):
        return
    with pytest.raises(RemoteHttpError) as caught:
        accept_upgrade(_head(case.raw))
    headers = dict(caught.value.headers)
    if caught.value.status == 405:
        assert headers == {"Allow": "GET"}
    else:
        assert headers["Sec-WebSocket-Version"] == "13"
        assert ("Upgrade" in headers) == (caught.value.status == 426)


def _request(*subprotocols: str) -> RequestHead:
    return _head(build_request("a.example", "/ws", KEY, subprotocols=subprotocols))


def test_subprotocol_is_our_best_that_is_offered() -> None:
    """Of what the client offers the first in our order is chosen; nothing in common chooses nothing."""
    chosen = accept_upgrade(_request("c", "a", "b"), subprotocols=("b", "c"))
    assert chosen.subprotocol == "b"
    assert b"\r\nSec-WebSocket-Protocol: b\r\n" in chosen.response
    none = accept_upgrade(_request("x"), subprotocols=("b",))
    assert none.subprotocol is None
    assert b"Protocol:" not in none.response


def test_response_takes_more_headers() -> None:
    """An extension's header goes into the consent."""
    response = accept_upgrade(_request(), headers=[("Sec-WebSocket-Extensions", "x; y")]).response
    assert response == _response(*CONSENT, "Sec-WebSocket-Extensions: x; y")


def test_error_response_is_a_problem_document() -> None:
    """A refusal is a complete response with an RFC 9457 body, and says that the connection closes."""
    response = error_response(426, "needs „Upgrade“", [("Upgrade", "websocket")])
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.decode().split("\r\n") == [
        "HTTP/1.1 426 Upgrade Required",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        "Connection: close",
        "Upgrade: websocket",
    ]
    assert json.loads(body) == {
        "type": "about:blank",
        "title": "Upgrade Required",
        "status": 426,
        "detail": "needs „Upgrade“",
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("A", "b\r\nC: d"), ("A", "b\n"), ("A", "\0"), ("A", "é"), ("A B", "c"), ("", "c"), ("A\r\n", "c")],
)
def test_refuses_to_write_what_breaks_a_head(name: str, value: str) -> None:
    """A header of ours that would become two, or none, is our bug."""
    with pytest.raises(LocalProtocolError):
        error_response(400, "x", [(name, value)])


def test_builds_request() -> None:
    """The client's request has what section 4.1 asks, and is one that our server accepts."""
    data = build_request("a.example:8000", "/ws?room=1", KEY, headers=[("Origin", "http://a")], subprotocols=["a", "b"])
    assert data == _response(
        "GET /ws?room=1 HTTP/1.1",
        "Host: a.example:8000",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {KEY}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: a, b",
        "Origin: http://a",
    )
    assert accept_upgrade(_head(data), subprotocols=["b"]).subprotocol == "b"


@pytest.mark.parametrize(
    ("host", "path", "key"),
    [("a", "ws", KEY), ("a", "/a b", KEY), ("a", "/\r\nX: y", KEY), ("a\r\nX: y", "/", KEY), ("a", "/", "short")],
)
def test_refuses_to_build_bad_request(host: str, path: str, key: str) -> None:
    """A path, host or key that no server could read is our bug."""
    with pytest.raises(LocalProtocolError):
        build_request(host, path, key)


def test_response_is_checked_when_complete() -> None:
    """The consent is awaited to its last byte; frames after it are left alone."""
    response = _response(*CONSENT, "Sec-WebSocket-Protocol: b", "X: y")
    for end in range(len(response)):
        assert check_response(response[:end], KEY, subprotocols=["a", "b"]) is None
    established = check_response(bytearray(response + b"\x81\0"), KEY, subprotocols=["a", "b"])
    assert established is not None
    assert established.consumed == len(response)
    assert established.subprotocol == "b"
    assert established.headers.get("x") == "y"


def test_response_without_subprotocol() -> None:
    """A server need not choose any of the subprotocols, nor need the reason phrase be there."""
    established = check_response(_response("HTTP/1.1 101 ", *CONSENT[1:]), KEY, subprotocols=["a"])
    assert established is not None
    assert established.subprotocol is None


def test_response_with_offered_extension() -> None:
    """An extension that was offered may be chosen, with parameters."""
    response = _response(*CONSENT, "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover")
    assert check_response(response, KEY, extensions=["permessage-deflate"]) is not None


BAD_RESPONSES = [
    ("refused", ["HTTP/1.1 429 Too Many Requests", "Retry-After: 1"], 429, "refused the upgrade with status 429"),
    ("not http", ["SSH-2.0-x"], None, "version is malformed"),
    ("http/2", ["HTTP/2.0 101 x"], None, "HTTP/2.0 is not supported"),
    ("no status", ["HTTP/1.1"], None, "status of three digits"),
    ("bad status", ["HTTP/1.1 1x1 x"], None, "status of three digits"),
    ("folded", [*CONSENT, " x"], None, "folded"),
    ("no upgrade", [CONSENT[0], *CONSENT[2:]], 101, "Upgrade: websocket"),
    ("no connection", [*CONSENT[:2], CONSENT[3]], 101, "Upgrade: websocket"),
    ("no accept", CONSENT[:3], 101, "does not answer our key"),
    ("wrong accept", [*CONSENT[:3], f"Sec-WebSocket-Accept: {KEY}"], 101, "does not answer our key"),
    ("two accepts", [*CONSENT, CONSENT[3]], 101, "does not answer our key"),
    ("subprotocol", [*CONSENT, "Sec-WebSocket-Protocol: c"], 101, "subprotocol c, not offered"),
    ("two subprotocols", [*CONSENT, *["Sec-WebSocket-Protocol: a"] * 2], 101, "subprotocol a, a, not offered"),
    ("extension", [*CONSENT, "Sec-WebSocket-Extensions: x; y"], 101, "extension x, not offered"),
]


@pytest.mark.parametrize(
    ("lines", "status", "message"), [row[1:] for row in BAD_RESPONSES], ids=[row[0] for row in BAD_RESPONSES]
)
def test_refuses_bad_response(lines: list[str], status: int | None, message: str) -> None:
    """An answer that is no consent to what was asked fails the handshake, with the status if there was one."""
    with pytest.raises(RemoteHandshakeError, match=message) as caught:
        check_response(_response(*lines), KEY, subprotocols=["a"])
    assert caught.value.status == status


def test_response_has_limits() -> None:
    """A server cannot make a client hold more than the limit either."""
    with pytest.raises(RemoteHandshakeError, match="longer than 64 bytes"):
        check_response(b"HTTP/1.1 101 x\r\n" + b"A: b\r\n" * 8, KEY, limits=HeadLimits(head_bytes=64))

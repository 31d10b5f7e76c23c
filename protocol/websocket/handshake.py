"""The opening handshake of both roles (RFC 6455, section 4), and the answer to a request that cannot be served."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha1
from http import HTTPStatus
from typing import Final, NamedTuple

from protocol.errors import LocalProtocolError
from protocol.websocket.errors import RemoteHandshakeError, RemoteHttpError
from protocol.websocket.http_head import (
    TOKEN,
    Headers,
    HeadLines,
    RequestHead,
    parse_request_head,
    parse_version,
    split_head,
)
from protocol.websocket.limits import HEAD_LIMITS, HeadLimits

__all__ = [
    "Accepted",
    "Established",
    "Headers",
    "RequestHead",
    "accept_key",
    "accept_upgrade",
    "build_request",
    "check_response",
    "error_response",
    "is_upgrade",
    "parse_request_head",
]

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_VERSION_HEADER: Final = ("Sec-WebSocket-Version", "13")
# Base64 of 16 bytes (section 4.1, point 7).
_KEY: Final = re.compile(r"[A-Za-z0-9+/]{22}==")
_KEY_CHARACTERS: Final = 24
_LINE_BREAK: Final = re.compile(r"[\r\n\x00]")

HeaderLines = Sequence[tuple[str, str]]


class Accepted(NamedTuple):
    """Our consent to an upgrade: the bytes to send, and the subprotocol they name."""

    response: bytes
    subprotocol: str | None


class Established(NamedTuple):
    """The server's consent to an upgrade; frames begin at `consumed` in the buffer it was read from."""

    consumed: int
    subprotocol: str | None
    headers: Headers


def accept_key(key: str) -> str:
    """The Sec-WebSocket-Accept that answers a Sec-WebSocket-Key (section 4.2.2, point 5.4)."""
    return b64encode(sha1((key + _GUID).encode(), usedforsecurity=False).digest()).decode()


def is_upgrade(head: RequestHead) -> bool:
    """Whether the request asks for a WebSocket: GET, `Upgrade: websocket` and the Connection token `upgrade`."""
    return (
        head.method == "GET"
        and head.headers.has_token("Upgrade", "websocket")
        and head.headers.has_token("Connection", "upgrade")
    )


def accept_upgrade(head: RequestHead, *, subprotocols: Sequence[str] = (), headers: HeaderLines = ()) -> Accepted:
    """Consent to an upgrade after checking everything section 4.2.1 asks of the client.

    `subprotocols` are those we speak, best first: the first of them that the client offers is chosen, or none.
    `headers` are added to the response (an extension's, for example).
    Raises RemoteHttpError, naming what is missing: 400, 405 for another method, 426 for no upgrade or another
    version of the protocol.
    """
    _check_upgrade(head)
    key = _check_key(head.headers)
    offered = head.headers.tokens("Sec-WebSocket-Protocol")
    subprotocol = next((name for name in subprotocols if name in offered), None)
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {accept_key(key)}",
    ]
    if subprotocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {subprotocol}")
    return Accepted(_encode_head(lines, headers), subprotocol)


def _check_upgrade(head: RequestHead) -> None:
    headers = head.headers
    if head.method != "GET":
        raise RemoteHttpError(405, f"a WebSocket is opened by GET, not {head.method}", [("Allow", "GET")])
    if not is_upgrade(head):
        raise RemoteHttpError(
            426,
            "this is a WebSocket: 'Upgrade: websocket' and 'Connection: Upgrade' are required",
            [("Upgrade", "websocket"), _VERSION_HEADER],
        )
    if head.version != "1.1":
        raise RemoteHttpError(400, "a WebSocket is opened by HTTP/1.1, not HTTP/1.0", [_VERSION_HEADER])
    if len(headers.get_all("Host")) != 1:
        raise RemoteHttpError(400, "exactly one Host header is required", [_VERSION_HEADER])
    # What followed would be read as frames by us and as a body by a proxy.
    if headers.get("Transfer-Encoding") is not None or headers.get("Content-Length") not in (None, "0"):
        raise RemoteHttpError(400, "the request that opens a WebSocket has no body", [_VERSION_HEADER])


def _check_key(headers: Headers) -> str:
    versions = headers.get_all("Sec-WebSocket-Version")
    if not versions:
        raise RemoteHttpError(400, "Sec-WebSocket-Version is missing; it must be 13", [_VERSION_HEADER])
    if versions != ["13"]:
        raise RemoteHttpError(426, "Sec-WebSocket-Version must be 13", [("Upgrade", "websocket"), _VERSION_HEADER])
    keys = headers.get_all("Sec-WebSocket-Key")
    if len(keys) != 1:
        raise RemoteHttpError(400, "exactly one Sec-WebSocket-Key header is required", [_VERSION_HEADER])
    if _KEY.fullmatch(keys[0]) is None:
        raise RemoteHttpError(
            400,
            f"Sec-WebSocket-Key must be 16 bytes in base64: {_KEY_CHARACTERS} characters, not {len(keys[0])}"
            if len(keys[0]) != _KEY_CHARACTERS
            else "Sec-WebSocket-Key must be 16 bytes in base64",
            [_VERSION_HEADER],
        )
    return keys[0]


def error_response(status: int, message: str, headers: HeaderLines = ()) -> bytes:
    """A complete HTTP/1.1 response that refuses a request, as an RFC 9457 problem; the connection closes after it."""
    title = HTTPStatus(status).phrase
    body = json.dumps({"type": "about:blank", "title": title, "status": status, "detail": message}).encode()
    lines = [
        f"HTTP/1.1 {status} {title}",
        "Content-Type: application/problem+json",
        f"Content-Length: {len(body)}",
        "Connection: close",
    ]
    return _encode_head(lines, headers) + body


def build_request(
    host: str, path: str, key: str, *, headers: HeaderLines = (), subprotocols: Sequence[str] = ()
) -> bytes:
    """The client's opening request (section 4.1).

    `host` as it goes into the Host header, `path` with its query, already percent-encoded, `key` 16 random bytes
    in base64, fresh for each connection. Raises LocalProtocolError for anything that would break the head.
    """
    if _KEY.fullmatch(key) is None:
        raise LocalProtocolError("the key must be 16 bytes in base64")
    if " " in path or not path.startswith("/"):
        raise LocalProtocolError(f"the path {path!r} is not '/…' in percent-encoded form")
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    if subprotocols:
        lines.append(f"Sec-WebSocket-Protocol: {', '.join(subprotocols)}")
    return _encode_head(lines, headers)


def check_response(
    buffer: bytes | bytearray,
    key: str,
    *,
    subprotocols: Sequence[str] = (),
    extensions: Sequence[str] = (),
    limits: HeadLimits = HEAD_LIMITS,
) -> Established | None:
    """The server's answer to `build_request` with this key, or None while it is incomplete.

    `subprotocols` and `extensions` are the names that were offered: the server may choose no other.
    Raises RemoteHandshakeError for a refusal (with its status) and for an answer that section 4.1 forbids.
    """
    try:
        head = split_head(buffer, limits)
        if head is None:
            return None
        status = _parse_status_line(head.start_line)
    except RemoteHttpError as error:
        raise RemoteHandshakeError(f"the server's answer is not valid HTTP/1.1: {error.message}") from error
    if status != HTTPStatus.SWITCHING_PROTOCOLS:
        raise RemoteHandshakeError(f"the server refused the upgrade with status {status}", status)
    return _check_consent(head, key, subprotocols, extensions)


def _parse_status_line(line: str) -> int:
    version, _, rest = line.partition(" ")
    parse_version(version)
    code, _, _ = rest.partition(" ")
    if re.fullmatch("[1-9][0-9][0-9]", code) is None:
        raise RemoteHttpError(400, "the status line has no status of three digits")
    return int(code)


def _check_consent(head: HeadLines, key: str, subprotocols: Sequence[str], extensions: Sequence[str]) -> Established:
    headers = head.headers
    if not (headers.has_token("Upgrade", "websocket") and headers.has_token("Connection", "upgrade")):
        raise RemoteHandshakeError("the server's 101 does not name 'Upgrade: websocket'", 101)
    if headers.get_all("Sec-WebSocket-Accept") != [accept_key(key)]:
        raise RemoteHandshakeError("Sec-WebSocket-Accept does not answer our key", 101)
    chosen = headers.get_all("Sec-WebSocket-Protocol")
    if len(chosen) > 1 or not set(chosen) <= set(subprotocols):
        raise RemoteHandshakeError(f"the server chose subprotocol {', '.join(chosen)}, not offered", 101)
    for extension in headers.tokens("Sec-WebSocket-Extensions"):
        name = extension.partition(";")[0].strip()
        if name not in extensions:
            raise RemoteHandshakeError(f"the server chose extension {name}, not offered", 101)
    return Established(head.raw_length, chosen[0] if chosen else None, headers)


def _encode_head(lines: list[str], headers: HeaderLines) -> bytes:
    """Lines and headers as a head; refuses what would smuggle in another line."""
    if headers:
        lines = [*lines, *(f"{name}: {value}" for name, value in headers)]
        for name, _ in headers:
            if TOKEN.fullmatch(name) is None:
                raise LocalProtocolError(f"{name!r} is not a header name")
    text = "\r\n".join(lines)
    if not text.isascii() or len(_LINE_BREAK.findall(text)) != 2 * (len(lines) - 1):
        raise LocalProtocolError("a line of the head holds a line break, NUL or a character outside ASCII")
    return f"{text}\r\n\r\n".encode("ascii")

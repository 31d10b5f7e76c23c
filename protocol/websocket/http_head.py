"""The head of an HTTP/1.1 request or response, parsed strictly and within limits (RFC 9112, RFC 9110).

Strict because the same bytes may be judged again by a proxy in front or by the HTTP application behind: what two
parsers could read differently is refused here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

from protocol.websocket.errors import RemoteHttpError
from protocol.websocket.limits import HEAD_LIMITS, HeadLimits

TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")

_TARGET: Final = re.compile(r"[!-~]+")
_VERSION: Final = re.compile(r"HTTP/([0-9])\.([0-9])")
_FORBIDDEN_BYTE: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MAX_QUERY_FIELDS: Final = 64


class Headers:
    """Header lines in the order they came; names are compared without regard to case."""

    __slots__ = ("_lines",)

    def __init__(self, lines: tuple[tuple[str, str], ...]) -> None:
        self._lines = lines  # names in lower case

    def __repr__(self) -> str:
        return f"Headers({', '.join(name for name, _ in self._lines)})"

    def get(self, name: str) -> str | None:
        """The value of the first line with this name."""
        name = name.lower()
        for key, value in self._lines:
            if key == name:
                return value
        return None

    def get_all(self, name: str) -> list[str]:
        """The values of all lines with this name."""
        name = name.lower()
        return [value for key, value in self._lines if key == name]

    def tokens(self, name: str) -> list[str]:
        """The elements of a comma-separated list, over all lines with this name (RFC 9110, section 5.6.1)."""
        return [item for value in self.get_all(name) for part in value.split(",") if (item := part.strip(" \t"))]

    def has_token(self, name: str, token: str) -> bool:
        """Whether the list holds the token, without regard to case."""
        return any(item.lower() == token for item in self.tokens(name))


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A complete request head.

    `path` is percent-decoded and has no query; `query` holds the first value of each parameter, decoded.
    `version` is "1.0" or "1.1". `raw_length` is where the head ends in the buffer it was parsed from.
    """

    method: str
    target: str
    path: str
    query: Mapping[str, str]
    version: str
    headers: Headers
    raw_length: int


class HeadLines(NamedTuple):
    """The start line and header lines of a complete head, and where it ends in the buffer."""

    start_line: str
    headers: Headers
    raw_length: int


def parse_request_head(buffer: bytes | bytearray, limits: HeadLimits = HEAD_LIMITS) -> RequestHead | None:
    """The request head at the start of the buffer, or None while it is incomplete.

    Raises RemoteHttpError: 400 malformed, 414 request line too long, 431 header lines too long or too many, 505
    another version of HTTP. Limits and forbidden bytes are judged on an incomplete head too, so the caller never
    holds more than `limits.head_bytes` before this refuses.
    """
    lines = split_head(buffer, limits)
    if lines is None:
        return None
    method, target, version = _parse_request_line(lines.start_line)
    path, query = _parse_target(target)
    return RequestHead(method, target, path, query, version, lines.headers, lines.raw_length)


def split_head(buffer: bytes | bytearray, limits: HeadLimits) -> HeadLines | None:
    """The lines of a request's or response's head, or None while it is incomplete; errors as above."""
    start = 2 if buffer.startswith(b"\r\n") else 0  # one empty line in front is forgiven (RFC 9112, 2.2)
    end = buffer.find(b"\r\n\r\n", start)
    # One byte over the limit is enough to see that an endless head is too long.
    head = bytes(buffer[start : start + limits.head_bytes + 1 if end < 0 else end + 2])
    _check_sizes(head, limits, complete=end >= 0)
    _check_bytes(head, complete=end >= 0)
    if end < 0:
        return None
    start_line, *header_lines = head[:-2].decode("latin-1").split("\r\n")
    return HeadLines(start_line, Headers(tuple(map(_parse_header_line, header_lines))), end + 4)


def _check_sizes(head: bytes, limits: HeadLimits, *, complete: bool) -> None:
    # A CR at the end of what has come belongs to the line's end, not to the line.
    start_line, *header_lines = (head if complete else head.removesuffix(b"\r")).split(b"\r\n")
    if len(start_line) > limits.request_line_bytes:
        raise RemoteHttpError(414, f"the request line is longer than {limits.request_line_bytes} bytes")
    if any(len(line) > limits.header_line_bytes for line in header_lines):
        raise RemoteHttpError(431, f"a header line is longer than {limits.header_line_bytes} bytes")
    if len(header_lines) - 1 > limits.header_lines:  # the last is not a whole line yet, or is empty
        raise RemoteHttpError(431, f"there are more than {limits.header_lines} header lines")
    if len(head) + 2 * complete > limits.head_bytes - (not complete):
        raise RemoteHttpError(431, f"the head is longer than {limits.head_bytes} bytes")


def _check_bytes(head: bytes, *, complete: bool) -> None:
    if head.startswith(b"\r\n"):
        raise RemoteHttpError(400, "the request line is empty")
    pairs = head.count(b"\r\n")
    if head.count(b"\n") != pairs:
        raise RemoteHttpError(400, "a line ends in LF without CR")
    returns = head.count(b"\r") - (not complete and head.endswith(b"\r"))
    if returns != pairs:
        raise RemoteHttpError(400, "a CR stands without LF")
    forbidden = _FORBIDDEN_BYTE.search(head)
    if forbidden is not None:
        raise RemoteHttpError(400, f"byte {forbidden[0][0]:#04x} is not allowed in a head")


def _parse_header_line(line: str) -> tuple[str, str]:
    if line[:1] in (" ", "\t"):
        raise RemoteHttpError(400, "a header line is folded (obs-fold)")
    name, colon, value = line.partition(":")
    if not colon:
        raise RemoteHttpError(400, "a header line has no colon")
    if name.endswith((" ", "\t")):
        raise RemoteHttpError(400, "a header line has a space before its colon")
    if TOKEN.fullmatch(name) is None:
        raise RemoteHttpError(400, "a header name is empty or has a character outside the token set")
    return name.lower(), value.strip(" \t")


def _parse_request_line(line: str) -> tuple[str, str, str]:
    parts = line.split(" ")
    if len(parts) != 3:
        raise RemoteHttpError(400, "the request line is not 'method target version', one space between each")
    method, target, version = parts
    if TOKEN.fullmatch(method) is None:
        raise RemoteHttpError(400, "the method is not a token")
    if _TARGET.fullmatch(target) is None:
        raise RemoteHttpError(400, "the target is empty or has a character that must be percent-encoded")
    return method, target, parse_version(version)


def parse_version(text: str) -> str:
    """Read "HTTP/1.x" as "1.0" or "1.1"; refuses with 400 what is malformed and with 505 another major version."""
    match = _VERSION.fullmatch(text)
    if match is None:
        raise RemoteHttpError(400, "the HTTP version is malformed")
    major, minor = match.groups()
    if major != "1":
        raise RemoteHttpError(505, f"HTTP/{major}.{minor} is not supported; use HTTP/1.1")
    return "1.0" if minor == "0" else "1.1"  # RFC 9110, section 2.5: a higher minor version is read as 1.1


def _parse_target(target: str) -> tuple[str, dict[str, str]]:
    """Path and query of any of the four forms of a target (RFC 9112, section 3.2)."""
    if "#" in target:
        raise RemoteHttpError(400, "the target has a fragment")
    if not target.startswith("/"):
        return _parse_other_target(target)
    raw_path, _, raw_query = target.partition("?")
    return _decode_path(raw_path), _decode_query(raw_query)


def _parse_other_target(target: str) -> tuple[str, dict[str, str]]:
    if "://" not in target:
        return target, {}  # asterisk form or authority form
    try:
        parts = urlsplit(target)
    except ValueError:
        raise RemoteHttpError(400, "the target is not a valid URL") from None
    return _decode_path(parts.path or "/"), _decode_query(parts.query)


def _decode_path(raw: str) -> str:
    if "%" not in raw:
        return raw
    try:
        return unquote(raw, errors="strict")
    except UnicodeDecodeError:
        raise RemoteHttpError(400, "the path is not UTF-8 when percent-decoded") from None


def _decode_query(raw: str) -> dict[str, str]:
    query: dict[str, str] = {}
    if not raw:
        return query
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=_MAX_QUERY_FIELDS)
    except UnicodeDecodeError:
        raise RemoteHttpError(400, "the query is not UTF-8 when percent-decoded") from None
    except ValueError:
        raise RemoteHttpError(400, f"the query has more than {_MAX_QUERY_FIELDS} parameters") from None
    for name, value in pairs:
        query.setdefault(name, value)
    return query

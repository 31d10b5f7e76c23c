"""Tests of protocol/websocket/http_head.py."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.websocket.errors import RemoteHttpError
from protocol.websocket.http_head import Headers, RequestHead, parse_request_head
from protocol.websocket.limits import HEAD_LIMITS, HeadLimits
from tests.protocol.websocket.corpus import CASES, Case, unescape

PARSED = [case for case in CASES if not {"status", "incomplete"} & case.expect.keys()]
REFUSED = [case for case in CASES if "status" in case.expect]
INCOMPLETE = [case for case in CASES if "incomplete" in case.expect]


def _parse(data: bytes) -> RequestHead:
    head = parse_request_head(data)
    assert head is not None
    return head


def test_corpus_is_complete() -> None:
    """The corpus is found, and every case expects something."""
    assert min(len(PARSED), len(REFUSED), len(INCOMPLETE)) >= 3
    assert all(case.expect for case in CASES)


@pytest.mark.parametrize("case", PARSED, ids=lambda case: case.name)
def test_parses(case: Case) -> None:
    """A legal head has the parts its file says, and ends where the next bytes begin."""
    head = _parse(case.raw)
    for key in ("method", "path", "version"):
        assert getattr(head, key) == case.expect.get(key, getattr(head, key))
    if "query" in case.expect:
        assert head.query == json.loads(case.expect["query"])
    for key, value in case.expect.items():
        if key.startswith("header "):
            assert head.headers.get(key[7:]) == unescape(value).decode("latin-1")
    if "rest" in case.expect:
        assert case.raw[head.raw_length :] == unescape(case.expect["rest"])


@pytest.mark.parametrize("case", PARSED, ids=lambda case: case.name)
def test_every_prefix_of_a_legal_head_is_incomplete(case: Case) -> None:
    """A head is complete with its last byte, not before and not refused before, and what follows changes nothing."""
    end = _parse(case.raw).raw_length
    for length in _lengths(end):
        assert parse_request_head(bytearray(case.raw[:length])) is None
    whole, followed = _parse(case.raw[:end]), _parse(case.raw[:end] + b"\0\n\r" + bytes(70_000))
    assert (followed.target, followed.raw_length) == (whole.target, whole.raw_length)


def _lengths(end: int) -> list[int]:
    """All lengths below a short end; of a long one the last hundred and some in between."""
    return sorted({*range(0, end, max(1, end // 300)), *range(max(0, end - 100), end)})


@pytest.mark.parametrize("case", INCOMPLETE, ids=lambda case: case.name)
def test_incomplete(case: Case) -> None:
    """What may still become a legal head is waited for."""
    assert parse_request_head(case.raw) is None


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_refuses(case: Case) -> None:
    """An illegal or oversized head gets the documented status and a message that names the fault and the limit."""
    with pytest.raises(RemoteHttpError) as caught:
        parse_request_head(case.raw)
    assert caught.value.status == int(case.expect["status"])
    assert case.expect["message"] in caught.value.message


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case.name)
def test_prefixes_of_a_refused_head_agree(case: Case) -> None:
    """A part of an illegal head is waited on or refused for the same reason as the whole; it is never accepted."""
    outcomes = [_judge(case.raw[:length], HEAD_LIMITS) for length in _lengths(len(case.raw))]
    assert outcomes[0] is None
    for refusal in filter(None, outcomes):
        assert isinstance(refusal, RemoteHttpError)
        assert refusal.status == int(case.expect["status"])
        assert case.expect["message"] in refusal.message


def _judge(data: bytes, limits: HeadLimits) -> RequestHead | RemoteHttpError | None:
    try:
        return parse_request_head(data, limits)
    except RemoteHttpError as error:
        return error


@settings(deadline=None)
@given(st.binary(max_size=400), st.sampled_from([b"", b"GET / HTTP/1.1\r\n", b"GET /", b"GET / HTTP/1.1\r\nA: "]))
def test_never_waits_beyond_its_limit(data: bytes, start: bytes) -> None:
    """Any bytes are parsed, refused, or waited on while shorter than the limit; nothing else happens."""
    limits = HeadLimits(request_line_bytes=60, header_line_bytes=60, head_bytes=120, header_lines=4)
    data = start + data
    outcome = _judge(data, limits)
    if outcome is None:
        assert len(data) < 120 + 2  # an empty line in front is not counted
    elif isinstance(outcome, RequestHead):
        assert outcome.raw_length <= min(len(data), 120 + 2)
    else:
        assert outcome.status in (400, 414, 431, 505)


@settings(deadline=None)
@given(st.text(max_size=30), st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=9), max_size=5))
def test_any_path_and_query_round_trip(path: str, query: dict[str, str]) -> None:
    """Whatever a client percent-encodes arrives as it was."""
    head = _parse(f"GET /{quote(path)}?{urlencode(query)} HTTP/1.1\r\n\r\n".encode())
    assert (head.path, head.query) == ("/" + path, query)


def test_headers_are_found_without_case() -> None:
    """Names match in any case; `get` gives the first line, `get_all` every line, `tokens` every element."""
    headers = Headers((("a", "1"), ("list", "x, ,Y"), ("a", "2"), ("list", "z")))
    assert headers.get("A") == "1"
    assert headers.get("b") is None
    assert headers.get_all("A") == ["1", "2"]
    assert headers.tokens("List") == ["x", "Y", "z"]
    assert headers.has_token("LIST", "y")
    assert not headers.has_token("list", "a")


def test_repr_hides_values() -> None:
    """A head that reaches a log shows which headers came, not the tokens in them."""
    headers = _parse(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: secret\r\n\r\n").headers
    assert repr(headers) == "Headers(host, cookie)"


def test_limits_are_the_documented_ones() -> None:
    """Without other limits the documented defaults hold."""
    assert HeadLimits() == HEAD_LIMITS == HeadLimits(8192, 8192, 16_384, 64)

"""Error and close codes: complete, and with ranges that mean what they say."""

import pytest

from protocol.codes import CLOSES, ERRORS, CloseCode, ErrorCode, may_reconnect
from protocol.websocket.frames import is_wire_close_code


def test_every_error_code_is_explained() -> None:
    """Each code has an entry, and there is no other."""
    assert list(ERRORS) == list(ErrorCode)


@pytest.mark.parametrize("code", ErrorCode)
def test_an_error_is_an_http_problem(code: ErrorCode) -> None:
    """An error has an HTTP error status; only what may pass later may be retried; the meaning is a phrase."""
    info = ERRORS[code]
    assert 400 <= info.status <= 599
    assert info.may_retry == (info.status == 429 or info.status >= 500)
    assert info.meaning
    assert not info.meaning.endswith(".")


def test_every_close_code_is_explained() -> None:
    """Each code has an entry, and there is no other."""
    assert list(CLOSES) == list(CloseCode)


@pytest.mark.parametrize("code", CloseCode)
def test_a_close_code_may_travel(code: CloseCode) -> None:
    """Every code may stand in a Close frame (RFC 6455, section 7.4)."""
    assert is_wire_close_code(code)
    assert CLOSES[code].meaning


@pytest.mark.parametrize("code", [code for code in CloseCode if code >= 4000])
def test_our_range_says_whether_to_reconnect(code: CloseCode) -> None:
    """4000 to 4499 may come back, 4500 to 4999 must not: an old client needs no table for new codes."""
    assert CLOSES[code].may_reconnect == (code < 4500)
    assert 4000 <= code <= 4999


@pytest.mark.parametrize(
    ("code", "back"),
    [(1000, True), (1002, False), (1006, True), (4000, True), (4499, True), (4500, False), (4999, False), (3000, True)],
)
def test_may_reconnect(code: int, back: bool) -> None:
    """A known code is looked up, an unknown one is judged by its range."""
    assert may_reconnect(code) is back

"""Problem documents."""

import json
from collections.abc import Callable

import pytest

from logic.api.problems import PROBLEM_TYPE, Problem, internal_problem, problem_of, shorten
from logic.model import IdempotencyConflict, Unavailable
from protocol.codes import ERRORS, ErrorCode
from protocol.names import NameInvalid, parse_room, parse_user_id


@pytest.mark.parametrize("code", ErrorCode)
def test_every_code_makes_a_problem_document(code: ErrorCode) -> None:
    """Status and title come from the table of codes; a field is there only when there is one."""
    response = Problem(code, "why").response()
    assert (response.status, response.content_type) == (ERRORS[code].status, PROBLEM_TYPE)
    assert isinstance(response.body, bytes)
    assert json.loads(response.body) == {
        "type": f"urn:danmaku-push:problem:{code}",
        "title": ERRORS[code].meaning,
        "status": ERRORS[code].status,
        "detail": "why",
        "code": code,
    }
    assert Problem(code, "why", field="room").document().field == "room"


@pytest.mark.parametrize(
    ("error", "code", "field"),
    [
        (Unavailable("nothing there"), ErrorCode.UNAVAILABLE, None),
        (IdempotencyConflict("another push"), ErrorCode.IDEMPOTENCY_CONFLICT, "Idempotency-Key"),
        (Problem(ErrorCode.FORBIDDEN, "no"), ErrorCode.FORBIDDEN, None),
    ],
)
def test_foreseen_errors_have_a_problem(error: Exception, code: ErrorCode, field: str | None) -> None:
    """What the publisher raises has one problem each."""
    problem = problem_of(error)
    assert problem is not None
    assert (problem.code, problem.field, problem.detail) == (code, field, str(error))


@pytest.mark.parametrize(("parse", "field"), [(parse_room, "room"), (parse_user_id, "user")])
def test_names_outside_the_grammar_name_their_field(parse: Callable[[str], str], field: str) -> None:
    """A bad name says whether it was the room's or the user's."""
    with pytest.raises(NameInvalid) as caught:
        parse("a b")
    problem = problem_of(caught.value)
    assert problem is not None
    assert problem.field == field


def test_retry_after_is_at_least_a_second() -> None:
    """A client is never told to retry at once."""
    problem = problem_of(Unavailable("busy", retry_after_s=0))
    assert problem is not None
    assert problem.headers == {"Retry-After": "1"}


def test_what_nobody_foresaw_tells_nothing() -> None:
    """Other errors have no translation, and the problem in their place says nothing of our insides."""
    assert problem_of(RuntimeError("secret")) is None
    assert internal_problem().status == 500


def test_echoed_text_is_short_and_can_be_encoded() -> None:
    """Client text in an error is cut, and cannot break the encoder."""
    assert shorten("x" * 81) == "x" * 80 + "…"
    assert shorten("x" * 80) == "x" * 80
    assert shorten("a\udcff\ud800") == "a??"

"""The middleware: request ids, unforeseen errors, numbers, log lines."""

import logging
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from tests.logic.api.conftest import AUTH, KEY, Api

JSON = {**AUTH, "Content-Type": "application/json"}
ROUTE = "/v1/rooms/{room}/messages"


@pytest.fixture
def debug_log() -> Iterator[None]:
    """Let the API write debug lines for the length of a test."""
    logger = logging.getLogger("logic.api")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    yield
    logger.setLevel(before)


@pytest.mark.parametrize("path", ["/v1/rooms", "/v1/rooms/a%20b", "/nowhere", "/docs"])
async def test_a_given_request_id_is_kept(api: Api, path: str) -> None:
    """A request id of 1 to 64 harmless characters comes back, in refusals too."""
    async with api.session.get(api.url + path, headers={**AUTH, "X-Request-Id": "req_1.a-B"}) as answer:
        assert answer.headers["X-Request-Id"] == "req_1.a-B"


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "<b>", "é"])
async def test_else_a_new_request_id_is_made(api: Api, given: str | None) -> None:
    """Without a usable id every answer gets one of its own."""
    headers = AUTH if given is None else {**AUTH, "X-Request-Id": given}
    ids = set()
    for _ in range(3):
        async with api.session.get(f"{api.url}/v1/rooms", headers=headers) as answer:
            ids.add(answer.headers["X-Request-Id"])
    assert len(ids) == 3
    assert given not in ids


async def test_an_unforeseen_error_is_500_without_our_insides(api: Api) -> None:
    """A bug is answered with a problem that says nothing of it; the log has it under the same request id."""
    api.publishing.failure = RuntimeError("secret of ours")
    with capture_logs() as logs:
        async with api.session.post(f"{api.url}/v1/broadcast", data=b'{"data":1}', headers=JSON) as answer:
            assert answer.status == 500
            assert "secret" not in await answer.text()
            assert (await answer.json(content_type=None))["code"] == "internal"
            request_id = answer.headers["X-Request-Id"]
    failed, answered = logs
    assert str(failed["exc_info"]) == "secret of ours"
    assert failed["request_id"] == answered["request_id"] == request_id
    assert (answered["log_level"], answered["status"], answered["route"]) == ("warning", 500, "/v1/broadcast")


async def test_requests_are_counted_by_route_and_status(api: Api) -> None:
    """Numbers carry the template of the route, never a room's name or an unknown path."""
    for body in (b'{"data":1}', b'{"messages":[{"data":1},{"data":2}]}', b"nonsense"):
        async with api.session.post(f"{api.url}/v1/rooms/42/messages", data=body, headers=JSON):
            pass
    async with api.session.get(f"{api.url}/secret/path"):
        pass
    assert api.metric("logic_api_requests_total", route=ROUTE, status="200") == 2
    assert api.metric("logic_api_requests_total", route=ROUTE, status="400") == 1
    assert api.metric("logic_api_requests_total", route="unmatched", status="404") == 1
    assert api.metric("logic_api_messages_accepted_total", route=ROUTE) == 3
    assert api.metric("logic_api_request_seconds_count", route=ROUTE) == 3
    assert api.metric("logic_api_problems_total", code="json_invalid") == 1


@pytest.mark.usefixtures("debug_log")
async def test_log_lines_hold_no_key(api: Api) -> None:
    """A request's line tells id, method, route and status, and never a key or a query string."""
    with capture_logs() as logs:
        async with api.session.post(f"{api.url}/push/all?key={KEY}", data={"items": "[1]"}) as answer:
            assert answer.status == 200
        async with api.session.get(f"{api.url}/nowhere?key={KEY}", headers=AUTH) as answer:
            assert answer.status == 404
    assert [(line["method"], line["route"], line["status"]) for line in logs] == [
        ("POST", "/push/all", 200),
        ("GET", "unmatched", 404),
    ]
    assert KEY not in repr(logs)


async def test_silence_without_debug(api: Api) -> None:
    """Requests that are answered below 500 write nothing unless debug lines are wanted."""
    with capture_logs() as logs:
        async with api.session.get(f"{api.url}/nowhere") as answer:
            assert answer.status == 404
    assert logs == []

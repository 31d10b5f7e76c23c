"""Bad requests, in one table: what is sent, and the status, code and detail that come back."""

import io
from dataclasses import dataclass, field

import pytest
from yarl import URL

from tests.logic.api.conftest import AUTH, PUBLISH_KEY, READ_KEY, Api, bearer

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
NDJSON = {"Content-Type": "application/x-ndjson"}
GOOD = b'{"data":1}'
ROOM = "/v1/rooms/42/messages"
MIB = 1024 * 1024


@dataclass(frozen=True)
class Bad:
    """A request, and how it is refused."""

    name: str
    status: int
    code: str
    detail: str
    method: str = "POST"
    path: str = ROOM
    headers: dict[str, str] = field(default_factory=lambda: {**AUTH, **JSON})
    body: bytes = GOOD


def auth(**headers: str) -> dict[str, str]:
    """Return good headers with some replaced or added."""
    return {**AUTH, **JSON, **{name.replace("_", "-"): value for name, value in headers.items()}}


def form(body: bytes, path: str = "/push/room", **kwargs: str) -> dict[str, object]:
    """Return the fields of a form request."""
    return {"path": path, "headers": {**AUTH, **FORM}, "body": body}


def get(path: str) -> dict[str, object]:
    """Return the fields of a reading request."""
    return {"method": "GET", "path": path, "headers": AUTH, "body": b""}


TOO_LONG = b'{"data":"' + b"x" * (16 * 1024 - 1) + b'"}'
TABLE = [
    Bad("no key", 401, "unauthenticated", "Bearer", headers=JSON),
    Bad("another scheme", 401, "unauthenticated", "Bearer", headers=auth(Authorization="Basic eDp5")),
    Bad("unknown key", 401, "key_invalid", "no such API key", headers=auth(Authorization="Bearer wrong")),
    Bad("no key for reading", 401, "unauthenticated", "Bearer", "GET", "/v1/rooms", {}, b""),
    Bad("no key for bulk", 401, "unauthenticated", "Bearer", path="/v1/publish", headers=NDJSON),
    Bad("no key for legacy", 401, "unauthenticated", "Bearer", path="/push/all", headers=FORM),
    Bad("unknown key in the query", 401, "key_invalid", "key: no such", path="/push/all?key=wrong", headers=FORM),
    Bad("key in the query elsewhere", 401, "unauthenticated", "Bearer", path=f"{ROOM}?key={PUBLISH_KEY}", headers=JSON),
    Bad("scope publish", 403, "forbidden", "scope publish", headers={**bearer(READ_KEY), **JSON}),
    Bad(
        "scope user",
        403,
        "forbidden",
        "scope user",
        path="/v1/users/7/messages",
        headers={**bearer(PUBLISH_KEY), **JSON},
    ),
    Bad(
        "scope broadcast",
        403,
        "forbidden",
        "scope broadcast",
        path="/v1/broadcast",
        headers={**bearer(PUBLISH_KEY), **JSON},
    ),
    Bad("scope read", 403, "forbidden", "scope read", "GET", "/v1/stats", bearer(PUBLISH_KEY), b""),
    Bad(
        "scope for bulk", 403, "forbidden", "scope publish", path="/v1/publish", headers={**bearer(READ_KEY), **NDJSON}
    ),
    Bad(
        "scope for legacy",
        403,
        "forbidden",
        "scope broadcast",
        path="/push/all",
        headers={**bearer(PUBLISH_KEY), **FORM},
    ),
    Bad("unknown path", 404, "not_found", "/v2/rooms", path="/v2/rooms"),
    Bad("no room", 404, "not_found", "/v1/rooms//messages", path="/v1/rooms//messages"),
    Bad("room settings", 404, "not_found", "settings", **get("/v1/rooms/42/settings")),  # type: ignore[arg-type]
    Bad("path that is not UTF-8", 404, "not_found", "nothing is at", path="/%ff%ed%a0%80"),
    Bad("method", 405, "method_not_allowed", "DELETE is not possible here, but: POST", method="DELETE", body=b""),
    Bad("history", 405, "method_not_allowed", "POST", **get(ROOM)),  # type: ignore[arg-type]
    Bad("room grammar", 422, "room_invalid", "room: must be 1 to 128", path="/v1/rooms/a%20b/messages"),
    Bad("room not ASCII", 422, "room_invalid", "room: must be 1 to 128", path="/v1/rooms/%E6%88%BF/messages"),
    Bad("room with braces", 422, "room_invalid", "room: must be 1 to 128", path="/v1/rooms/%7Ba%7D/messages"),
    Bad("room length", 422, "room_invalid", "room: must be 1 to 128", path=f"/v1/rooms/{'x' * 129}/messages"),
    Bad("user grammar", 422, "user_invalid", "user: must be 1 to 128", path="/v1/users/a%20b/messages"),
    Bad("room to read", 422, "room_invalid", "room: must be 1 to 128", **get("/v1/rooms/a%20b")),  # type: ignore[arg-type]
    Bad("no content type", 415, "content_type", "none was given", headers=AUTH),
    Bad("content type text", 415, "content_type", "must be application/json", headers=auth(Content_Type="text/plain")),
    Bad("content type form", 415, "content_type", "must be application/json", headers={**AUTH, **FORM}),
    Bad("charset", 415, "content_type", "UTF-8", headers=auth(Content_Type="application/json; charset=gbk")),
    Bad("content coding", 415, "content_type", "Content-Encoding", headers=auth(Content_Encoding="gzip")),
    Bad("bulk content type", 415, "content_type", "application/x-ndjson", path="/v1/publish"),
    Bad("legacy content type", 415, "content_type", "application/x-www-form-urlencoded", path="/push/all"),
    Bad("malformed", 400, "json_invalid", "byte 8", body=b'{"data":}'),
    Bad("no body", 400, "json_invalid", "body: is empty", body=b""),
    Bad("not UTF-8", 400, "json_invalid", "not UTF-8: invalid start byte (byte 9)", body=b'{"data":"\xff"}'),
    Bad("nested", 400, "json_invalid", "nested too deeply", body=b'{"data":' + b"[" * 400_000 + b"]" * 400_000 + b"}"),
    Bad("unknown field", 422, "field_invalid", "messages[0].color", body=b'{"messages":[{"data":1,"color":2}]}'),
    Bad("no messages", 422, "field_invalid", "1 to 1000", body=b'{"messages":[]}'),
    Bad(
        "1,001 messages",
        422,
        "too_many_messages",
        "messages: has 1001 messages, the limit is 1000",
        body=b'{"messages":[' + b",".join([GOOD] * 1001) + b"]}",
    ),
    Bad("large data", 413, "data_too_large", "data: has 16385 bytes, the limit is 16384", body=TOO_LONG),
    Bad("large body", 413, "body_too_large", f"has {MIB + 1} bytes, the limit is {MIB}", body=b" " * (MIB + 1)),
    Bad(
        "idempotency key empty",
        422,
        "field_invalid",
        "Idempotency-Key: must be 1 to 128",
        headers=auth(Idempotency_Key=""),
    ),
    Bad("idempotency key long", 422, "field_invalid", "1 to 128", headers=auth(Idempotency_Key="x" * 129)),
    Bad("idempotency key space", 422, "field_invalid", "visible ASCII", headers=auth(Idempotency_Key="a b")),
    Bad("top zero", 422, "field_invalid", "top: must be a number from 1 to 1000", **get("/v1/rooms?top=0")),  # type: ignore[arg-type]
    Bad("top over", 422, "field_invalid", "1 to 1000", **get("/v1/rooms?top=1001")),  # type: ignore[arg-type]
    Bad("top text", 422, "field_invalid", "1 to 1000", **get("/v1/rooms?top=many")),  # type: ignore[arg-type]
    Bad("top empty", 422, "field_invalid", "1 to 1000", **get("/v1/rooms?top=")),  # type: ignore[arg-type]
    Bad("form without items", 422, "field_invalid", "items: is missing", **form(b"room=42")),  # type: ignore[arg-type]
    Bad("form without room", 422, "field_invalid", "room: is missing", **form(b"items=[1]")),  # type: ignore[arg-type]
    Bad("form items", 400, "json_invalid", "items: is not JSON", **form(b"room=42&items=[1")),  # type: ignore[arg-type]
    Bad("form items object", 422, "field_invalid", "items: expected", **form(b"room=42&items={}")),  # type: ignore[arg-type]
    Bad("form room", 422, "room_invalid", "1 to 128", **form(b"room=a+b&items=[1]")),  # type: ignore[arg-type]
    Bad("form UTF-8", 400, "json_invalid", "not UTF-8", **form(b"items=[%22%ff%22]", "/push/all")),  # type: ignore[arg-type]
    Bad("form fields", 422, "field_invalid", "1000 form fields", **form(b"&".join([b"a=1"] * 1001))),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("bad", TABLE, ids=[bad.name for bad in TABLE])
async def test_bad_requests_get_the_documented_problem(api: Api, bad: Bad) -> None:
    """A bad request gets its status and a problem document that names the field and the limit; nothing is published,
    and the connection's next request works."""
    url = URL(api.url + bad.path, encoded=True)
    body = io.BytesIO(bad.body) if bad.body else None
    async with api.session.request(
        bad.method, url, headers=bad.headers, data=body, skip_auto_headers=["Content-Type"]
    ) as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert (answer.status, problem["status"], problem["code"]) == (bad.status, bad.status, bad.code)
        assert bad.detail in problem["detail"]
        assert problem["type"] == f"urn:danmaku-push:problem:{bad.code}"
        assert problem["title"]
        assert answer.headers["X-Request-Id"]
        assert ("WWW-Authenticate" in answer.headers) == (bad.status == 401)
        assert ("Allow" in answer.headers) == (bad.status == 405)
    assert not api.publishing.pushes
    async with api.session.post(api.url + ROOM, data=GOOD, headers={**AUTH, **JSON}) as answer:
        assert answer.status == 200
    assert api.metric("logic_api_problems_total", code=bad.code) == 1

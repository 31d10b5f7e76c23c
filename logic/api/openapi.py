"""The OpenAPI document: the paths are written here, the schemas come from the types that decode and encode.

It says 3.1 and keeps to what 3.0 has too, because the page in `docs` reads it as 3.0.
"""

from typing import Any, Final

import msgspec

from logic.api import bulk, legacy, push, schemas
from logic.api.intake import FORM, JSON, NDJSON
from logic.api.problems import PROBLEM_TYPE, TYPE_PREFIX
from logic.api.reads import TOP_DEFAULT, TOP_MAX
from protocol.codes import ERRORS, ErrorCode
from protocol.limits import DATA_MAX_BYTES, PUSH_MAX_BYTES, PUSH_MAX_MESSAGES

Json = dict[str, Any]

_TYPES: Final = (
    schemas.MessageIn,
    schemas.ManyMessages,
    schemas.BulkLine,
    schemas.RoomReceipt,
    schemas.DirectReceipt,
    schemas.RoomResult,
    schemas.DirectResult,
    schemas.LineError,
    schemas.ProblemOut,
    schemas.RoomList,
    schemas.RoomOut,
    schemas.GatewayList,
)

_ABOUT: Final = f"""Push danmaku and everything that flies with them to the viewers of live rooms.

A push holds 1 to {PUSH_MAX_MESSAGES} messages and {PUSH_MAX_BYTES} bytes; a message's `data` is any JSON of at most
{DATA_MAX_BYTES} bytes, and viewers get exactly the bytes that were sent. Send `Idempotency-Key` to make a retry safe
for five minutes. Refusals are problem documents (RFC 9457): decide by `code`. Every answer carries `X-Request-Id`.
"""

_GATEWAYS: Final = {"reached": 3, "failed": 0}
_ROOM_RECEIPT: Final = {
    "accepted": 1,
    "first_seq": 101,
    "last_seq": 101,
    "epoch": 1700000000000000,
    "gateways": _GATEWAYS,
}
_DIRECT_RECEIPT: Final = {"accepted": 1, "gateways": _GATEWAYS}
_DANMAKU: Final = {"type": "danmaku", "text": "前排!", "mode": "scroll", "color": "#ffffff", "size": 25}
_PUSH_EXAMPLES: Final = {
    "one": {"summary": "One message", "value": {"data": _DANMAKU}},
    "many": {
        "summary": "Several messages",
        "value": {
            "messages": [
                {"data": _DANMAKU, "priority": "low"},
                {"data": {"type": "gift", "name": "rocket", "count": 1}, "delivery": "reliable", "priority": "high"},
            ]
        },
    },
}
_BULK_EXAMPLE: Final = (
    '{"room":"42","messages":[{"data":{"type":"danmaku","text":"1"}},{"data":{"type":"danmaku","text":"2"}}]}\n'
    '{"user":"7","data":{"type":"notice","text":"welcome"},"idempotency_key":"welcome-7"}\n'
    '{"broadcast":true,"data":{"type":"notice","text":"maintenance at 03:00"},"delivery":"reliable"}\n'
)
_BULK_RESULT_EXAMPLE: Final = (
    '{"line":1,"accepted":2,"first_seq":101,"last_seq":102,"epoch":1700000000000000,'
    '"gateways":{"reached":3,"failed":0}}\n'
    '{"line":2,"error":{"type":"urn:danmaku-push:problem:forbidden","title":"the credentials do not allow this",'
    '"status":403,"detail":"the key \'shop\' does not have the scope user","code":"forbidden"}}\n'
)

_READ_REFUSALS: Final = (ErrorCode.UNAUTHENTICATED, ErrorCode.KEY_INVALID, ErrorCode.FORBIDDEN, ErrorCode.INTERNAL)
_PUSH_REFUSALS: Final = (
    *_READ_REFUSALS,
    ErrorCode.JSON_INVALID,
    ErrorCode.IDEMPOTENCY_CONFLICT,
    ErrorCode.BODY_TOO_LARGE,
    ErrorCode.DATA_TOO_LARGE,
    ErrorCode.CONTENT_TYPE,
    ErrorCode.FIELD_INVALID,
    ErrorCode.TOO_MANY_MESSAGES,
    ErrorCode.RATE_LIMITED,
    ErrorCode.UNAVAILABLE,
)


def make_document(version: str) -> Json:
    """Return the document, ready to be encoded."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Danmaku push API",
            "version": version,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [
            {"name": "push", "description": "Send messages to viewers."},
            {"name": "look", "description": "What the platform is doing."},
            {"name": "legacy", "description": "Drop-in for callers of the older Go server."},
        ],
        "paths": {**_push_paths(), **_read_paths(), **_legacy_paths(), **_open_paths()},
        "components": {
            "schemas": _schemas(),
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key of the operator."},
                "key_in_query": {"type": "apiKey", "in": "query", "name": "key", "description": "The same key."},
            },
        },
    }


def _push_paths() -> Json:
    body = {
        "required": True,
        "content": {
            JSON: {
                "schema": {"oneOf": [_ref(schemas.ManyMessages), _ref(schemas.MessageIn)]},
                "examples": _PUSH_EXAMPLES,
            }
        },
    }
    room = _operation(
        "pushToRoom", "push", "Push to a room", "publish", _room_ok(), (*_PUSH_REFUSALS, ErrorCode.ROOM_INVALID)
    )
    user = _operation(
        "pushToUser", "push", "Push to a user", "user", _direct_ok(), (*_PUSH_REFUSALS, ErrorCode.USER_INVALID)
    )
    everybody = _operation("broadcast", "push", "Push to everybody", "broadcast", _direct_ok(), _PUSH_REFUSALS)
    for operation, parameters in ((room, [_room()]), (user, [_user()]), (everybody, [])):
        operation["requestBody"] = body
        operation["parameters"] = [*parameters, _idempotency_key()]
    return {
        push.ROOM_PATH: {"post": room},
        push.USER_PATH: {"post": user},
        push.BROADCAST_PATH: {"post": everybody},
        bulk.PATH: {"post": _bulk()},
    }


def _bulk() -> Json:
    ok = {
        "description": "One result a line, in the order of the lines: RoomResult, DirectResult or LineError.",
        "headers": _headers(),
        "content": {NDJSON: {"schema": {"type": "string"}, "example": _BULK_RESULT_EXAMPLE}},
    }
    refusals = (*_READ_REFUSALS, ErrorCode.CONTENT_TYPE)
    operation = _operation(
        "publish", "push", "Push in bulk", "publish, user or broadcast, as each line needs", ok, refusals
    )
    operation["description"] += (
        " One push a line (BulkLine), one result a line, while the request is still being sent: the stream may stay "
        "open for ever. A refused line does not end it; a line that is too long does. Blank lines have no result."
    )
    operation["requestBody"] = {
        "required": True,
        "content": {NDJSON: {"schema": {"type": "string"}, "example": _BULK_EXAMPLE}},
    }
    return operation


def _read_paths() -> Json:
    top = {
        "name": "top",
        "in": "query",
        "description": "How many rooms.",
        "schema": {"type": "integer", "minimum": 1, "maximum": TOP_MAX, "default": TOP_DEFAULT},
    }
    rooms = _operation(
        "listRooms",
        "look",
        "The busiest rooms",
        "read",
        _ok(_ref(schemas.RoomList)),
        (*_READ_REFUSALS, ErrorCode.FIELD_INVALID),
    )
    rooms["parameters"] = [top]
    room = _operation(
        "getRoom",
        "look",
        "A room",
        "read",
        _ok(_ref(schemas.RoomOut)),
        (*_READ_REFUSALS, ErrorCode.ROOM_INVALID, ErrorCode.UNAVAILABLE),
    )
    room["parameters"] = [_room()]
    gateways = _operation(
        "listGateways", "look", "The gateways", "read", _ok(_ref(schemas.GatewayList)), _READ_REFUSALS
    )
    stats = _operation("getStats", "look", "Counters of this logic", "read", _ok({"type": "object"}), _READ_REFUSALS)
    return {
        "/v1/rooms": {"get": rooms},
        "/v1/rooms/{room}": {"get": room},
        "/v1/gateways": {"get": gateways},
        "/v1/stats": {"get": stats},
    }


def _legacy_paths() -> Json:
    items = {
        "type": "array",
        "items": {},
        "minItems": 1,
        "maxItems": PUSH_MAX_MESSAGES,
        "description": "A JSON array; each value is the data of one message.",
    }
    room = _operation(
        "legacyPushRoom", "legacy", "Push to a room", "publish", _room_ok(), (*_PUSH_REFUSALS, ErrorCode.ROOM_INVALID)
    )
    everybody = _operation("legacyPushAll", "legacy", "Push to everybody", "broadcast", _direct_ok(), _PUSH_REFUSALS)
    room["requestBody"] = _form({"room": schemas.ROOM_SCHEMA, "items": items}, {"room": "42", "items": ["前排!"]})
    everybody["requestBody"] = _form({"items": items}, {"items": ["前排!"]})
    for operation in (room, everybody):
        operation["parameters"] = [_idempotency_key()]
        operation["security"] = [{"key": []}, {"key_in_query": []}]
    return {legacy.ROOM_PATH: {"post": room}, legacy.EVERYBODY_PATH: {"post": everybody}}


def _open_paths() -> Json:
    ok = {"description": "This document", "headers": _headers(), "content": {JSON: {"schema": {"type": "object"}}}}
    return {
        "/openapi.json": {
            "get": {
                "operationId": "getContract",
                "tags": ["look"],
                "summary": "This document",
                "security": [],
                "responses": {"200": ok},
            }
        }
    }


def _operation(
    operation_id: str, tag: str, summary: str, scope: str, ok: Json, refusals: tuple[ErrorCode, ...]
) -> Json:
    return {
        "operationId": operation_id,
        "tags": [tag],
        "summary": summary,
        "description": f"Needs a key with the scope {scope}.",
        "responses": {"200": ok, **_problems(refusals)},
    }


def _problems(codes: tuple[ErrorCode, ...]) -> Json:
    """Return the responses of these codes, those of one status together."""
    by_status: dict[int, list[ErrorCode]] = {}
    for code in codes:
        by_status.setdefault(ERRORS[code].status, []).append(code)
    return {str(status): _problem(status, by_status[status]) for status in sorted(by_status)}


def _problem(status: int, codes: list[ErrorCode]) -> Json:
    headers = _headers()
    if status == 401:
        headers["WWW-Authenticate"] = {"schema": {"type": "string"}, "description": "Bearer"}
    if status in (429, 503):
        headers["Retry-After"] = {"schema": {"type": "integer", "minimum": 1}, "description": "Seconds"}
    return {
        "description": "; ".join(f"`{code}`: {ERRORS[code].meaning}" for code in codes),
        "headers": headers,
        "content": {
            PROBLEM_TYPE: {
                "schema": _ref(schemas.ProblemOut),
                "examples": {code.value: {"value": _problem_example(code)} for code in codes},
            }
        },
    }


def _problem_example(code: ErrorCode) -> Json:
    info = ERRORS[code]
    return {
        "type": TYPE_PREFIX + code,
        "title": info.meaning,
        "status": info.status,
        "detail": "names the field and the limit",
        "code": code.value,
    }


def _room_ok() -> Json:
    return _ok(_ref(schemas.RoomReceipt), _ROOM_RECEIPT)


def _direct_ok() -> Json:
    return _ok(_ref(schemas.DirectReceipt), _DIRECT_RECEIPT)


def _ok(schema: Json, example: Json | None = None) -> Json:
    headers = _headers()
    content: Json = {"schema": schema}
    if example is not None:
        content["example"] = example
        headers["Idempotency-Replayed"] = {
            "schema": {"type": "string", "enum": ["true"]},
            "description": "There when an earlier push with this key was answered again.",
        }
    return {"description": "Done", "headers": headers, "content": {JSON: content}}


def _headers() -> Json:
    return {"X-Request-Id": {"schema": {"type": "string"}, "description": "The given one, or a new one."}}


def _room() -> Json:
    return {
        "name": "room",
        "in": "path",
        "required": True,
        "description": "Room name; `/` in it is sent as %2F.",
        "schema": schemas.ROOM_SCHEMA,
        "example": "42",
    }


def _user() -> Json:
    return {
        "name": "user",
        "in": "path",
        "required": True,
        "description": "User id; `/` in it is sent as %2F.",
        "schema": schemas.USER_SCHEMA,
        "example": "7",
    }


def _idempotency_key() -> Json:
    return {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "Makes a retry of the same push safe for five minutes.",
        "schema": schemas.IDEMPOTENCY_KEY_SCHEMA,
    }


def _form(properties: Json, example: Json) -> Json:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "maxProperties": legacy.FORM_MAX_FIELDS,
    }
    encoding = {"items": {"contentType": JSON}}
    return {"required": True, "content": {FORM: {"schema": schema, "encoding": encoding, "example": example}}}


def _schemas() -> Json:
    _, components = msgspec.json.schema_components(_TYPES, ref_template="#/components/schemas/{name}")
    for schema in components.values():
        if not schema.get("required", True):
            del schema["required"]  # 3.0 does not allow an empty list
    return components


def _ref(kind: type[msgspec.Struct]) -> Json:
    return {"$ref": f"#/components/schemas/{kind.__name__}"}

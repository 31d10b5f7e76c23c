"""The older Go server's two calls, so that its callers need a new address only. Answers and problems are ours."""

from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web

from logic.api.bodies import decode_items
from logic.api.intake import FORM, check_content_type, idempotency_key, read_body
from logic.api.keys import ApiKey, KeyRing, Scope, check_scope
from logic.api.metrics import ApiMetrics
from logic.api.options import ApiOptions
from logic.api.problems import Problem
from logic.api.push import direct_push, receipt_response, room_push
from logic.model import Publishing
from protocol.codes import ErrorCode
from protocol.names import parse_room

ROOM_PATH: Final = "/push/room"
EVERYBODY_PATH: Final = "/push/all"

FORM_MAX_FIELDS: Final = 1_000
"""Two are known; strangers are let pass, as they always were, but a mebibyte of them is no push."""

LOOPBACK_OWNER: Final = "@loopback"
"""Who owns the idempotency keys of callers without a key: no key can have this name."""

_LOOPBACK: Final = ("127.", "::1", "::ffff:127.")
_PROXIED: Final = ("Origin", "Forwarded", "X-Forwarded-For")


class LegacyCalls:
    """Handlers of form-encoded pushes."""

    def __init__(self, publishing: Publishing, keys: KeyRing, metrics: ApiMetrics, options: ApiOptions) -> None:
        self._publishing = publishing
        self._body_timeout_s = options.body_timeout_s
        self._keys = keys
        self._loopback_without_key = options.loopback_without_key
        self._count_room = metrics.route(ROOM_PATH).count_accepted
        self._count_everybody = metrics.route(EVERYBODY_PATH).count_accepted

    async def to_room(self, request: web.Request) -> web.Response:
        """POST /push/room: `room` and `items`."""
        key = self._admit(request, Scope.PUBLISH)
        form = await _read_form(request, self._body_timeout_s)
        room = parse_room(_field(form, "room").decode("latin-1"))
        messages = decode_items(_field(form, "items"))
        receipt = await self._publishing.publish(room_push(room, messages, key, idempotency_key(request)))
        self._count_room(receipt.accepted)
        return receipt_response(receipt, in_room=True)

    async def to_everybody(self, request: web.Request) -> web.Response:
        """POST /push/all: `items`."""
        key = self._admit(request, Scope.BROADCAST)
        messages = decode_items(_field(await _read_form(request, self._body_timeout_s), "items"))
        receipt = await self._publishing.publish(direct_push(None, messages, key, idempotency_key(request)))
        self._count_everybody(receipt.accepted)
        return receipt_response(receipt, in_room=False)

    def _admit(self, request: web.Request, scope: Scope) -> ApiKey:
        key = self._authenticate(request)
        check_scope(key, scope)
        check_content_type(request, FORM)
        self._keys.charge(key)
        return key

    def _authenticate(self, request: web.Request) -> ApiKey:
        authorization = request.headers.get("Authorization")
        if authorization is None:
            if "key" in request.query:
                return self._keys.find(request.query["key"], "key")
            if self._loopback_without_key and _is_local(request):
                return ApiKey(LOOPBACK_OWNER, b"", frozenset({Scope.PUBLISH, Scope.BROADCAST}))
        return self._keys.authenticate(authorization)


def _is_local(request: web.Request) -> bool:
    """Tell whether the caller is a program on this machine: not a proxy that speaks for somebody else, and not a
    web page, which a browser on this machine would let send a form anywhere (browsers add Origin)."""
    remote = request.remote
    return (
        remote is not None
        and remote.startswith(_LOOPBACK)
        and not any(header in request.headers for header in _PROXIED)
    )


async def _read_form(request: web.Request, timeout_s: float) -> dict[str, bytes]:
    """Return the fields of the form, the first of each name. Latin-1 keeps every byte of a value as it was sent."""
    body = (await read_body(request, timeout_s)).decode("latin-1")
    try:
        pairs = parse_qsl(body, keep_blank_values=True, encoding="latin-1", max_num_fields=FORM_MAX_FIELDS)
    except ValueError as error:
        raise Problem(
            ErrorCode.FIELD_INVALID, f"body: has more than {FORM_MAX_FIELDS} form fields", field="body"
        ) from error
    return {name: value.encode("latin-1") for name, value in reversed(pairs)}


def _field(form: dict[str, bytes], name: str) -> bytes:
    try:
        return form[name]
    except KeyError:
        raise Problem(ErrorCode.FIELD_INVALID, f"{name}: is missing", field=name) from None

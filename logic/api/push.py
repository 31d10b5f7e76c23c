"""The calls that push one request's messages: to a room, to a user, to everybody."""

from typing import Final

import msgspec
from aiohttp import web

from logic.api.bodies import decode_push, idempotency_of
from logic.api.intake import JSON, check_content_type, idempotency_key, read_body
from logic.api.keys import ApiKey, KeyRing, Scope, check_scope
from logic.api.metrics import ApiMetrics
from logic.api.options import ApiOptions
from logic.api.schemas import DirectReceipt, ReachOut, RoomReceipt
from logic.model import DirectPushRequest, Publishing, Receipt, RoomPushRequest
from protocol.message import Message
from protocol.names import Room, UserId, parse_room, parse_user_id

ROOM_PATH: Final = "/v1/rooms/{room}/messages"
USER_PATH: Final = "/v1/users/{user}/messages"
BROADCAST_PATH: Final = "/v1/broadcast"

_ENCODE: Final = msgspec.json.Encoder().encode


class PushCalls:
    """Handlers: the key, the scope, the headers, then the body, in this order."""

    def __init__(self, publishing: Publishing, keys: KeyRing, metrics: ApiMetrics, options: ApiOptions) -> None:
        self._publishing = publishing
        self._body_timeout_s = options.body_timeout_s
        self._keys = keys
        self._count_room = metrics.route(ROOM_PATH).count_accepted
        self._count_user = metrics.route(USER_PATH).count_accepted
        self._count_broadcast = metrics.route(BROADCAST_PATH).count_accepted

    async def to_room(self, request: web.Request) -> web.Response:
        """POST /v1/rooms/{room}/messages."""
        key = self._admit(request, Scope.PUBLISH)
        room = parse_room(request.match_info["room"])
        messages = decode_push(await read_body(request, self._body_timeout_s))
        receipt = await self._publishing.publish(room_push(room, messages, key, idempotency_key(request)))
        self._count_room(receipt.accepted)
        return receipt_response(receipt, in_room=True)

    async def to_user(self, request: web.Request) -> web.Response:
        """POST /v1/users/{user}/messages."""
        key = self._admit(request, Scope.USER)
        user = parse_user_id(request.match_info["user"])
        messages = decode_push(await read_body(request, self._body_timeout_s))
        receipt = await self._publishing.publish(direct_push(user, messages, key, idempotency_key(request)))
        self._count_user(receipt.accepted)
        return receipt_response(receipt, in_room=False)

    async def to_everybody(self, request: web.Request) -> web.Response:
        """POST /v1/broadcast."""
        key = self._admit(request, Scope.BROADCAST)
        messages = decode_push(await read_body(request, self._body_timeout_s))
        receipt = await self._publishing.publish(direct_push(None, messages, key, idempotency_key(request)))
        self._count_broadcast(receipt.accepted)
        return receipt_response(receipt, in_room=False)

    def _admit(self, request: web.Request, scope: Scope) -> ApiKey:
        key = self._keys.authenticate(request.headers.get("Authorization"))
        check_scope(key, scope)
        check_content_type(request, JSON)
        self._keys.charge(key)
        return key


def room_push(room: Room, messages: list[Message], key: ApiKey, idempotency_key: str | None) -> RoomPushRequest:
    """Return the push for a room; raise Problem when the idempotency key is not one."""
    if idempotency_key is None:
        return RoomPushRequest(room, messages)
    return RoomPushRequest(room, messages, idempotency_of(key.name, idempotency_key, f"room {room}", messages))


def direct_push(
    user: UserId | None, messages: list[Message], key: ApiKey, idempotency_key: str | None
) -> DirectPushRequest:
    """Return the push for a user, or for everybody; raise Problem when the idempotency key is not one."""
    if idempotency_key is None:
        return DirectPushRequest(user, messages)
    target = "everybody" if user is None else f"user {user}"
    return DirectPushRequest(user, messages, idempotency_of(key.name, idempotency_key, target, messages))


def receipt_response(receipt: Receipt, *, in_room: bool) -> web.Response:
    """Return 200 with the receipt; `Idempotency-Replayed: true` when an earlier push was answered again."""
    reach = ReachOut(receipt.reach.reached, receipt.reach.failed)
    body: RoomReceipt | DirectReceipt
    if in_room:
        body = RoomReceipt(receipt.accepted, receipt.first_seq, receipt.last_seq, receipt.epoch, reach)
    else:
        body = DirectReceipt(receipt.accepted, reach)
    response = web.Response(body=_ENCODE(body), content_type=JSON)
    if receipt.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return response

"""Error codes and close codes as data.

Error codes travel in the ERROR frames of client dialects and as `code` of the push API's problem documents.
Close codes end a WebSocket connection (RFC 6455, section 7.4); our own range tells clients whether to come back:
4000 to 4499 may reconnect, 4500 to 4999 must not without a change.
"""

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Final


class ErrorCode(StrEnum):
    """A stable machine-readable name for what went wrong."""

    JSON_INVALID = "json_invalid"
    TYPE_UNKNOWN = "type_unknown"
    FIELD_INVALID = "field_invalid"
    ROOM_INVALID = "room_invalid"
    USER_INVALID = "user_invalid"
    TOO_MANY_ROOMS = "too_many_rooms"
    TOO_MANY_MESSAGES = "too_many_messages"
    ROOM_NOT_JOINED = "room_not_joined"
    BODY_TOO_LARGE = "body_too_large"
    DATA_TOO_LARGE = "data_too_large"
    TEXT_TOO_LONG = "text_too_long"
    CONTENT_TYPE = "content_type"
    UNAUTHENTICATED = "unauthenticated"
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - the name of a code
    KEY_INVALID = "key_invalid"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    RATE_LIMITED = "rate_limited"
    REJECTED = "rejected"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """What an error code means: its HTTP status, whether the same request may succeed later, and a sentence."""

    status: int
    may_retry: bool
    meaning: str


ERRORS: Final = MappingProxyType(
    {
        ErrorCode.JSON_INVALID: ErrorInfo(400, False, "the text is not JSON, or not UTF-8"),
        ErrorCode.TYPE_UNKNOWN: ErrorInfo(400, False, "no command has this type"),
        ErrorCode.FIELD_INVALID: ErrorInfo(422, False, "a field is missing, of the wrong type or out of range"),
        ErrorCode.ROOM_INVALID: ErrorInfo(422, False, "the room name is outside the grammar"),
        ErrorCode.USER_INVALID: ErrorInfo(422, False, "the user id is outside the grammar"),
        ErrorCode.TOO_MANY_ROOMS: ErrorInfo(422, False, "the connection is in as many rooms as it may be"),
        ErrorCode.TOO_MANY_MESSAGES: ErrorInfo(422, False, "the push has more messages than one push may have"),
        ErrorCode.ROOM_NOT_JOINED: ErrorInfo(422, False, "the connection has not joined this room"),
        ErrorCode.BODY_TOO_LARGE: ErrorInfo(413, False, "the request body is over its limit"),
        ErrorCode.DATA_TOO_LARGE: ErrorInfo(413, False, "a message's data is over its limit"),
        ErrorCode.TEXT_TOO_LONG: ErrorInfo(422, False, "the danmaku's text has more characters than allowed"),
        ErrorCode.CONTENT_TYPE: ErrorInfo(415, False, "the content type is not one this call takes"),
        ErrorCode.UNAUTHENTICATED: ErrorInfo(401, False, "credentials are needed and none were given"),
        ErrorCode.TOKEN_INVALID: ErrorInfo(401, False, "the viewer's token is malformed, expired or not ours"),
        ErrorCode.KEY_INVALID: ErrorInfo(401, False, "the API key is unknown"),
        ErrorCode.FORBIDDEN: ErrorInfo(403, False, "the credentials do not allow this"),
        ErrorCode.NOT_FOUND: ErrorInfo(404, False, "there is nothing here"),
        ErrorCode.METHOD_NOT_ALLOWED: ErrorInfo(405, False, "the path exists, the method is another"),
        ErrorCode.IDEMPOTENCY_CONFLICT: ErrorInfo(409, False, "the idempotency key was used for another push"),
        ErrorCode.RATE_LIMITED: ErrorInfo(429, True, "too many in too short a time"),
        ErrorCode.REJECTED: ErrorInfo(403, False, "moderation did not let this through"),
        ErrorCode.UNAVAILABLE: ErrorInfo(503, True, "nothing could take this now"),
        ErrorCode.INTERNAL: ErrorInfo(500, True, "a fault of ours; the log has it"),
    }
)


class CloseCode(IntEnum):
    """Why a client connection was closed."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL_ERROR = 1002
    UNSUPPORTED_DATA = 1003
    INVALID_PAYLOAD = 1007
    POLICY_VIOLATION = 1008
    MESSAGE_TOO_BIG = 1009
    INTERNAL_ERROR = 1011
    IDLE = 4000
    TOO_SLOW = 4001
    STUCK = 4002
    DRAINING = 4003
    TOKEN_INVALID = 4500
    TOO_MANY_ERRORS = 4501
    DISCONNECTED = 4502


@dataclass(frozen=True, slots=True)
class CloseInfo:
    """What a close code tells the client: whether to come back by itself, and a sentence."""

    may_reconnect: bool
    meaning: str


CLOSES: Final = MappingProxyType(
    {
        CloseCode.NORMAL: CloseInfo(True, "the client closed, or nothing was wrong"),
        CloseCode.GOING_AWAY: CloseInfo(True, "the gateway stops"),
        CloseCode.PROTOCOL_ERROR: CloseInfo(False, "a frame broke RFC 6455"),
        CloseCode.UNSUPPORTED_DATA: CloseInfo(False, "a binary message on a text dialect"),
        CloseCode.INVALID_PAYLOAD: CloseInfo(False, "a text message was not UTF-8"),
        CloseCode.POLICY_VIOLATION: CloseInfo(False, "a rule of the operator"),
        CloseCode.MESSAGE_TOO_BIG: CloseInfo(False, "a message was over its limit"),
        CloseCode.INTERNAL_ERROR: CloseInfo(True, "a fault of the gateway"),
        CloseCode.IDLE: CloseInfo(True, "nothing was heard for 60 s"),
        CloseCode.TOO_SLOW: CloseInfo(True, "more was queued for this viewer than its outbox holds"),
        CloseCode.STUCK: CloseInfo(True, "the socket took nothing for 30 s"),
        CloseCode.DRAINING: CloseInfo(True, "the gateway leaves; another one is there"),
        CloseCode.TOKEN_INVALID: CloseInfo(False, "the token on the URL was refused"),
        CloseCode.TOO_MANY_ERRORS: CloseInfo(False, "the client kept sending commands that make no sense"),
        CloseCode.DISCONNECTED: CloseInfo(False, "the operator disconnected this user"),
    }
)


def may_reconnect(close_code: int) -> bool:
    """Tell whether a client should come back by itself after this close code, known or not."""
    try:
        return CLOSES[CloseCode(close_code)].may_reconnect
    except ValueError:
        return not 4500 <= close_code <= 4999

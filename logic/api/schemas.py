"""The JSON that the push API takes and gives, as types: decoders, encoders and the OpenAPI document use the same."""

from typing import Annotated, Final, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType, field

from protocol.codes import ErrorCode
from protocol.limits import (
    DATA_MAX_BYTES,
    MAX_INTEGER,
    PUSH_MAX_MESSAGES,
    ROOM_NAME_MAX_BYTES,
    USER_ID_MAX_BYTES,
)

IDEMPOTENCY_KEY_MAX: Final = 128
"""Characters of an idempotency key: a UUID and a generous prefix."""

ROOM_SCHEMA: Final[dict[str, object]] = {
    "type": "string",
    "minLength": 1,
    "maxLength": ROOM_NAME_MAX_BYTES,
    "pattern": "^[A-Za-z0-9_.:/-]+$",
}
USER_SCHEMA: Final[dict[str, object]] = {
    "type": "string",
    "minLength": 1,
    "maxLength": USER_ID_MAX_BYTES,
    "pattern": "^[A-Za-z0-9_.:@/-]+$",
}
IDEMPOTENCY_KEY_SCHEMA: Final[dict[str, object]] = {
    "type": "string",
    "minLength": 1,
    "maxLength": IDEMPOTENCY_KEY_MAX,
    "pattern": "^[!-~]+$",
}

DeliveryName = Literal["lossy", "reliable"]
PriorityName = Literal["low", "normal", "high"]

NO_DATA: Final = Raw(b"")
"""Stands for an absent `data`: no JSON value is empty."""


def _no_data() -> Raw:
    """A factory, because the schema generator would write a plain default into the document and cannot."""
    return NO_DATA


Data = Annotated[
    Raw,
    Meta(description=f"Any JSON value, at most {DATA_MAX_BYTES} bytes; it travels as exactly these bytes."),
]
Whole = Annotated[int, Meta(ge=0)]
Sequence53 = Annotated[int, Meta(ge=0, le=MAX_INTEGER)]


class MessageIn(Struct, forbid_unknown_fields=True):
    """One message of a push."""

    data: Data
    delivery: DeliveryName = "lossy"
    priority: PriorityName = "normal"


Messages = Annotated[
    list[MessageIn],
    Meta(extra_json_schema={"minItems": 1, "maxItems": PUSH_MAX_MESSAGES}),
]


class ManyMessages(Struct, forbid_unknown_fields=True):
    """A push of several messages."""

    messages: Messages


class AnyPush(Struct, forbid_unknown_fields=True):
    """A body before it is known whether it is one bare message or many; `bodies` decides."""

    messages: list[MessageIn] | UnsetType = UNSET
    data: Data = field(default_factory=_no_data)
    delivery: DeliveryName | UnsetType = UNSET
    priority: PriorityName | UnsetType = UNSET


class BulkLine(Struct, forbid_unknown_fields=True):
    """One line of a bulk stream: exactly one target, and the fields of a push beside it."""

    room: Annotated[str, Meta(extra_json_schema=ROOM_SCHEMA)] | UnsetType = UNSET
    user: Annotated[str, Meta(extra_json_schema=USER_SCHEMA)] | UnsetType = UNSET
    broadcast: bool | UnsetType = UNSET
    messages: Messages | UnsetType = UNSET
    data: Data = field(default_factory=_no_data)
    delivery: DeliveryName | UnsetType = UNSET
    priority: PriorityName | UnsetType = UNSET
    idempotency_key: Annotated[str, Meta(extra_json_schema=IDEMPOTENCY_KEY_SCHEMA)] | UnsetType = UNSET


class ReachOut(Struct):
    """How many gateways took the push, and how many that should have did not say so in time."""

    reached: Whole
    failed: Whole


class RoomReceipt(Struct):
    """What became of a push to a room. `epoch` names the lifetime of the room's sequence."""

    accepted: Whole
    first_seq: Sequence53
    last_seq: Sequence53
    epoch: Sequence53
    gateways: ReachOut


class DirectReceipt(Struct):
    """What became of a broadcast or a push to a user: these have no sequence."""

    accepted: Whole
    gateways: ReachOut


class RoomResult(Struct, omit_defaults=True):
    """The result of a bulk line for a room; `replayed` is there and true when an earlier push was answered again."""

    line: Whole
    accepted: Whole
    first_seq: Sequence53
    last_seq: Sequence53
    epoch: Sequence53
    gateways: ReachOut
    replayed: bool = False


class DirectResult(Struct, omit_defaults=True):
    """The result of a bulk line for a user or for everybody."""

    line: Whole
    accepted: Whole
    gateways: ReachOut
    replayed: bool = False


class ProblemOut(Struct, omit_defaults=True):
    """What went wrong (RFC 9457). Decide by `code`; `detail` is for people and may change."""

    type: str
    title: str
    status: Annotated[int, Meta(ge=400, le=599)]
    detail: str
    code: ErrorCode
    field: Annotated[str, Meta(description="The part of the request that was at fault.")] | UnsetType = UNSET


class LineError(Struct):
    """The result of a bulk line that was refused."""

    line: Whole
    error: ProblemOut


class RoomSummary(Struct):
    """A room in the list of the busiest."""

    room: str
    online: Whole


class RoomList(Struct):
    """The rooms with most viewers, most first."""

    rooms: list[RoomSummary]


class RoomOut(Struct):
    """A room: viewers on all gateways, and the position of its sequence (0 when nothing was pushed yet)."""

    room: str
    online: Whole
    seq: Sequence53
    epoch: Sequence53


class GatewayOut(Struct):
    """A gateway as this logic sees it over its link."""

    name: str
    address: str
    connected: bool
    connections: Whole
    rooms: Whole
    queued_bytes: Whole


class GatewayList(Struct):
    """Every gateway that is known, by name."""

    gateways: list[GatewayOut]

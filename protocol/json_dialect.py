"""The JSON dialect (`/ws`, `/connect`): text frames `{"type": T, "data": {…}}`."""

from collections.abc import Callable, Sequence
from typing import Annotated, Final

import msgspec

from protocol.codes import ErrorCode
from protocol.dialect import Auth, Command, CommandError, Join, Leave, Ping, Ref, Reply, Send
from protocol.limits import DATA_MAX_BYTES, MAX_INTEGER, REF_MAX_CHARS
from protocol.names import NameInvalid, Room, parse_room
from protocol.websocket.frames import OP_TEXT, encode_frame

_Position = Annotated[int, msgspec.Meta(ge=0, le=MAX_INTEGER)]
_RefField = (
    Annotated[str, msgspec.Meta(max_length=REF_MAX_CHARS)]
    | Annotated[int, msgspec.Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
    | None
)
_EMPTY: Final = msgspec.Raw(b"{}")
_PING: Final = Ping()
_BARE_PING: Final = b'{"type":"PING"}'


class _Envelope(msgspec.Struct):
    type: str
    data: msgspec.Raw = _EMPTY


class _RefOnly(msgspec.Struct):
    ref: _RefField = None


class _Auth(_RefOnly, kw_only=True):
    token: str


class _Leave(_RefOnly, kw_only=True):
    room: str


class _Join(_Leave, kw_only=True):
    since: _Position | None = None
    epoch: _Position | None = None


class _Send(_Leave, kw_only=True):
    data: msgspec.Raw


_envelope: Final = msgspec.json.Decoder(_Envelope)
_ref_only: Final = msgspec.json.Decoder(_RefOnly)
_auth: Final = msgspec.json.Decoder(_Auth)
_join: Final = msgspec.json.Decoder(_Join)
_leave: Final = msgspec.json.Decoder(_Leave)
_send: Final = msgspec.json.Decoder(_Send)
_encoder: Final = msgspec.json.Encoder()


class JsonDialect:
    """JSON in WebSocket text frames; see protocol/README.md for every field."""

    name: Final = "json"

    def decode_command(self, payload: bytes) -> Command:
        """Decode one text message. That all of it is UTF-8 was seen to by the WebSocket layer."""
        if payload == _BARE_PING:
            return _PING
        try:
            envelope = _envelope.decode(payload)
        except msgspec.ValidationError as error:
            raise CommandError(ErrorCode.FIELD_INVALID, _place(error, "")) from error
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
            raise CommandError(ErrorCode.JSON_INVALID, str(error)) from error
        decoder = _COMMANDS.get(envelope.type)
        if decoder is None:
            known = ", ".join(_COMMANDS)
            raise CommandError(ErrorCode.TYPE_UNKNOWN, f"type: {envelope.type[:32]!r} is not one of {known}")
        try:
            return decoder(envelope.data)
        except msgspec.ValidationError as error:
            raise CommandError(ErrorCode.FIELD_INVALID, _place(error, "data"), _ref_of(envelope.data)) from error
        except NameInvalid as error:
            raise CommandError(error.code, f"data.{error}", _ref_of(envelope.data)) from error
        except UnicodeDecodeError as error:
            raise CommandError(ErrorCode.JSON_INVALID, str(error)) from error

    def encode_reply(self, reply: Reply) -> bytes:
        """Encode a reply as one text frame."""
        fields = msgspec.structs.asdict(reply)
        data = {name: value for name, value in fields.items() if value is not None}
        return encode_frame(OP_TEXT, _encoder.encode({"type": type(reply).__struct_config__.tag, "data": data}))

    def encode_room_batch(self, room: str, items: Sequence[bytes], seq: int, epoch: int) -> bytes:
        """Encode a PUSH; the items are copied as they are, never parsed."""
        payload = b'{"type":"PUSH","data":{"room":"%b","items":[%b],"seq":%d,"epoch":%d}}' % (
            room.encode(),  # the grammar of room names needs no JSON escape
            b",".join(items),
            seq,
            epoch,
        )
        return encode_frame(OP_TEXT, payload)

    def encode_direct_batch(self, to: str, items: Sequence[bytes]) -> bytes:
        """Encode a PUSH that belongs to no room: it says `to` instead, and has no sequence."""
        payload = b'{"type":"PUSH","data":{"to":"%b","items":[%b]}}' % (to.encode(), b",".join(items))
        return encode_frame(OP_TEXT, payload)


def _decode_auth(raw: msgspec.Raw) -> Auth:
    fields = _auth.decode(raw)
    return Auth(fields.token, fields.ref)


def _decode_join(raw: msgspec.Raw) -> Join:
    fields = _join.decode(raw)
    return Join(_room(fields), fields.since, fields.epoch, fields.ref)


def _decode_leave(raw: msgspec.Raw) -> Leave:
    fields = _leave.decode(raw)
    return Leave(_room(fields), fields.ref)


def _decode_send(raw: msgspec.Raw) -> Send:
    fields = _send.decode(raw)
    data = bytes(fields.data)
    if len(data) > DATA_MAX_BYTES:
        text = f"data.data: {len(data)} bytes is over the limit of {DATA_MAX_BYTES}"
        raise CommandError(ErrorCode.DATA_TOO_LARGE, text, fields.ref)
    return Send(_room(fields), data, fields.ref)


def _room(fields: _Leave) -> Room:
    return parse_room(fields.room)


def _ref_of(raw: msgspec.Raw) -> Ref:
    """Find the `ref` of a command that is otherwise wrong, so that its client can match the error."""
    try:
        return _ref_only.decode(raw).ref
    except (msgspec.ValidationError, UnicodeDecodeError):
        return None


def _place(error: msgspec.ValidationError, prefix: str) -> str:
    """Turn msgspec's `… - at `$.room`` into `data.room: …`."""
    text, _, path = str(error).partition(" - at `$")
    field = (prefix + path.rstrip("`")).strip(".")
    return f"{field}: {text}" if field else text


_COMMANDS: Final[dict[str, Callable[[msgspec.Raw], Command]]] = {
    "PING": lambda _: _PING,
    "AUTH": _decode_auth,
    "JOIN": _decode_join,
    "LEAVE": _decode_leave,
    "SEND": _decode_send,
}

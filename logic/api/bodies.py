"""From the bytes of a request to the messages of a push, with every complaint naming the field and the limit."""

import hashlib
import re
from typing import Final, NoReturn, TypeVar

import msgspec
from msgspec import UNSET, Raw

from logic.api.problems import Problem, shorten
from logic.api.schemas import IDEMPOTENCY_KEY_MAX, NO_DATA, AnyPush, BulkLine, MessageIn
from logic.model import Idempotency
from protocol.codes import ErrorCode
from protocol.limits import DATA_MAX_BYTES, PUSH_MAX_MESSAGES
from protocol.message import DELIVERIES, PRIORITIES, Message

_PUSH: Final = msgspec.json.Decoder(AnyPush)
_LINE: Final = msgspec.json.Decoder(BulkLine)
_ITEMS: Final = msgspec.json.Decoder(list[Raw])

_T = TypeVar("_T")
_PATH: Final = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_NAMED: Final = re.compile(r"Object (contains unknown|missing required) field `(.*)`", re.DOTALL)
_ALLOWED: Final = {"delivery": tuple(DELIVERIES), "priority": tuple(PRIORITIES)}
_IDEMPOTENCY_KEY: Final = re.compile(rf"[!-~]{{1,{IDEMPOTENCY_KEY_MAX}}}")


def decode_push(body: bytes) -> list[Message]:
    """Return the messages of a JSON body: many, or one bare; raise Problem."""
    return messages_of(_decode(_PUSH, body, "body"))


def decode_line(line: bytes) -> BulkLine:
    """Return one line of a bulk stream, its target and messages not yet looked at; raise Problem."""
    return _decode(_LINE, line, "line")


def decode_items(text: bytes) -> list[Message]:
    """Return one lossy message for each value of a JSON array; raise Problem."""
    items = _decode(_ITEMS, text, "items")
    _check_count(len(items), "items")
    messages = [Message(bytes(item)) for item in items]
    for index, message in enumerate(messages):
        _check_size(len(message.data), f"items[{index}]")
    return messages


def messages_of(push: AnyPush | BulkLine) -> list[Message]:
    """Return the messages of a push: `messages`, or the bare `data` with its fields; raise Problem."""
    many = push.messages
    if many is UNSET:
        return [_bare_message(push)]
    if push.data is not NO_DATA or push.delivery is not UNSET or push.priority is not UNSET:
        raise Problem(
            ErrorCode.FIELD_INVALID,
            "messages: data, delivery and priority belong inside the messages when there is a list of them",
            field="messages",
        )
    _check_count(len(many), "messages")
    return [_message(message, index) for index, message in enumerate(many)]


def idempotency_of(owner: str, key: str, target: str, messages: list[Message]) -> Idempotency:
    """Return what makes this push safe to repeat. The fingerprint covers the target and every message's bytes and
    fields, not how they were sent: a retry may come through another call."""
    if _IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise Problem(
            ErrorCode.FIELD_INVALID,
            f"Idempotency-Key: must be 1 to {IDEMPOTENCY_KEY_MAX} visible ASCII characters",
            field="Idempotency-Key",
        )
    digest = hashlib.blake2b(target.encode(), digest_size=16)
    for message in messages:
        digest.update(b"\n%d %d %d " % (message.delivery, message.priority, len(message.data)))
        digest.update(message.data)
    return Idempotency(owner, key, digest.hexdigest())


def _bare_message(push: AnyPush | BulkLine) -> Message:
    if push.data is NO_DATA:
        raise Problem(ErrorCode.FIELD_INVALID, "messages: is missing (or one bare `data`)", field="messages")
    data = bytes(push.data)
    if len(data) > DATA_MAX_BYTES:
        _check_size(len(data), "data")
    if push.delivery is UNSET and push.priority is UNSET:
        return Message(data)
    return Message(
        data,
        DELIVERIES["lossy" if push.delivery is UNSET else push.delivery],
        PRIORITIES["normal" if push.priority is UNSET else push.priority],
    )


def _message(message: MessageIn, index: int) -> Message:
    data = bytes(message.data)
    if len(data) > DATA_MAX_BYTES:
        _check_size(len(data), f"messages[{index}].data")
    return Message(data, DELIVERIES[message.delivery], PRIORITIES[message.priority])


def _check_size(size: int, field: str) -> None:
    if size > DATA_MAX_BYTES:
        raise Problem(
            ErrorCode.DATA_TOO_LARGE, f"{field}: has {size} bytes, the limit is {DATA_MAX_BYTES}", field=field
        )


def _check_count(count: int, field: str) -> None:
    if count == 0:
        raise Problem(
            ErrorCode.FIELD_INVALID, f"{field}: is empty, 1 to {PUSH_MAX_MESSAGES} messages are needed", field=field
        )
    if count > PUSH_MAX_MESSAGES:
        raise Problem(
            ErrorCode.TOO_MANY_MESSAGES,
            f"{field}: has {count} messages, the limit is {PUSH_MAX_MESSAGES}",
            field=field,
        )


def _decode(decoder: "msgspec.json.Decoder[_T]", text: bytes, where: str) -> _T:
    """Decode, translating every complaint. The decoder does not check UTF-8 inside Raw, so that comes first."""
    try:
        if not text.isascii():
            text.decode("utf-8")
        return decoder.decode(text)
    except UnicodeDecodeError as error:
        raise Problem(
            ErrorCode.JSON_INVALID, f"{where}: is not UTF-8: {error.reason} (byte {error.start})", field=where
        ) from error
    except msgspec.ValidationError as error:
        _complain(str(error), where)
    except msgspec.DecodeError as error:
        raise Problem(ErrorCode.JSON_INVALID, _malformed(str(error), text, where), field=where) from error
    except RecursionError as error:
        raise Problem(ErrorCode.JSON_INVALID, f"{where}: is nested too deeply", field=where) from error


def _malformed(complaint: str, text: bytes, where: str) -> str:
    if not text.strip():
        return f"{where}: is empty"
    if complaint == "Input data was truncated":
        return f"{where}: is not JSON: it ends too early (byte {len(text)})"
    return f"{where}: is not JSON: {complaint.removeprefix('JSON is malformed: ')}"


def _complain(complaint: str, where: str) -> NoReturn:
    """Turn the decoder's sentence (`Expected …, got … - at `$.messages[3].data``) into a problem."""
    path = ""
    if found := _PATH.search(complaint):
        path = found.group(1).removeprefix(".")
        complaint = complaint[: found.start()]
    if where == "items":
        path = f"items{path}"
    if named := _NAMED.fullmatch(complaint):
        field = shorten(f"{path}.{named.group(2)}".removeprefix("."))
        what = "is not a field of this" if named.group(1).startswith("contains") else "is missing"
        raise Problem(ErrorCode.FIELD_INVALID, f"{field}: {what}", field=field)
    field = path or where
    allowed = _ALLOWED.get(path.rpartition(".")[2])
    if allowed is not None:
        raise Problem(ErrorCode.FIELD_INVALID, f"{field}: must be one of {', '.join(allowed)}", field=field)
    raise Problem(ErrorCode.FIELD_INVALID, f"{field}: {shorten(complaint[:1].lower() + complaint[1:])}", field=field)

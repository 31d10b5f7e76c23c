"""The JSON dialect: a table of (text, command), a table of (reply, text), and what any other text gets."""

import contextlib
import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import ErrorCode
from protocol.dialect import (
    Ack,
    Auth,
    Command,
    CommandError,
    Error,
    GoAway,
    Join,
    Joined,
    Leave,
    Left,
    Online,
    Ping,
    Pong,
    Reply,
    Send,
    Shed,
    User,
)
from protocol.json_dialect import JsonDialect
from protocol.limits import DATA_MAX_BYTES, MAX_INTEGER, REF_MAX_CHARS, ROOM_NAME_MAX_BYTES
from protocol.names import Room
from protocol.websocket.frames import Role
from protocol.websocket.limits import MessageLimits
from protocol.websocket.receiver import Text, receive

DIALECT: Final = JsonDialect()
ROOM: Final = Room("42")
LONGEST: Final = Room("r" * ROOM_NAME_MAX_BYTES)

COMMANDS: Final[list[tuple[str, Command]]] = [
    ('{"type":"PING"}', Ping()),
    (' { "type" : "PING" } ', Ping()),
    ('{"type":"PING","data":{}}', Ping()),
    ('{"type":"PING","data":null,"later":[1]}', Ping()),
    ('{"type":"AUTH","data":{"token":"a.b.c"}}', Auth("a.b.c")),
    ('{"type":"AUTH","data":{"token":"a.b.c","ref":"x"}}', Auth("a.b.c", "x")),
    ('{"type":"JOIN","data":{"room":"42"}}', Join(ROOM)),
    ('{"type":"JOIN","data":{"room":"42","later":{}}}', Join(ROOM)),
    ('{"data":{"room":"42","since":7,"epoch":9,"ref":1},"type":"JOIN"}', Join(ROOM, 7, 9, 1)),
    ('{"type":"JOIN","data":{"room":"42","since":null,"epoch":null,"ref":null}}', Join(ROOM)),
    (
        f'{{"type":"JOIN","data":{{"room":"42","since":0,"epoch":{MAX_INTEGER},"ref":-{MAX_INTEGER}}}}}',
        Join(ROOM, 0, MAX_INTEGER, -MAX_INTEGER),
    ),
    (f'{{"type":"JOIN","data":{{"room":"{LONGEST}"}}}}', Join(LONGEST)),
    ('{"type":"LEAVE","data":{"room":"live://a_b.c:1/2-3"}}', Leave(Room("live://a_b.c:1/2-3"))),
    ('{"type":"LEAVE","data":{"room":"42","ref":""}}', Leave(ROOM, "")),
    ('{"type":"LEAVE","data":{"room":"\\u0034\\u0032"}}', Leave(ROOM)),
    (f'{{"type":"LEAVE","data":{{"room":"42","ref":"{"弹" * REF_MAX_CHARS}"}}}}', Leave(ROOM, "弹" * REF_MAX_CHARS)),
    ('{"type":"SEND","data":{"room":"42","data":null}}', Send(ROOM, b"null")),
    (
        '{"type":"SEND","data":{"room":"42","ref":"r","data":{"text": "\\u524d\\n" , "x":[1.50]}}}',
        Send(ROOM, b'{"text": "\\u524d\\n" , "x":[1.50]}', "r"),
    ),
    (
        f'{{"type":"SEND","data":{{"room":"42","data":"{"x" * (DATA_MAX_BYTES - 2)}"}}}}',
        Send(ROOM, b'"%b"' % (b"x" * (DATA_MAX_BYTES - 2))),
    ),
]

ROOM_RULE: Final = "data.room: must be 1 to 128 characters of A-Z a-z 0-9 _ . : / -"
KNOWN: Final = "PING, AUTH, JOIN, LEAVE, SEND"

MISTAKES: Final[list[tuple[str, ErrorCode, str, str | int | None]]] = [
    ("", ErrorCode.JSON_INVALID, "truncated", None),
    ("{", ErrorCode.JSON_INVALID, "truncated", None),
    ("nonsense", ErrorCode.JSON_INVALID, "malformed", None),
    ('{"type":"PING"} x', ErrorCode.JSON_INVALID, "malformed: trailing characters (byte 17)", None),
    ('{"type":"SEND","data":{"room":"a","data":01}}', ErrorCode.JSON_INVALID, "malformed", None),
    ('{"type":"AUTH","data":{"token":"\\udc00 "}}', ErrorCode.JSON_INVALID, "surrogate", None),
    ('{"type":"JOIN","data":{"room":"\\ud800"}}', ErrorCode.JSON_INVALID, "", None),
    ('{"type":"SEND","data":{"room":"a","data":"\\ud800 abcdef"}}', ErrorCode.JSON_INVALID, "malformed", None),
    ('{"type":"PING","data":' + "[" * 16_000 + "]" * 16_000 + "}", ErrorCode.JSON_INVALID, "recursion depth", None),
    ("[]", ErrorCode.FIELD_INVALID, "Expected `object`, got `array`", None),
    ("{}", ErrorCode.FIELD_INVALID, "missing required field `type`", None),
    ('{"type":1}', ErrorCode.FIELD_INVALID, "type: Expected `str`, got `int`", None),
    ('{"type":"ping"}', ErrorCode.TYPE_UNKNOWN, f"type: 'ping' is not one of {KNOWN}", None),
    (f'{{"type":"{"x" * 5000}"}}', ErrorCode.TYPE_UNKNOWN, f"type: '{'x' * 32}' is not one of {KNOWN}", None),
    ('{"type":"JOIN"}', ErrorCode.FIELD_INVALID, "data: Object missing required field `room`", None),
    ('{"type":"JOIN","data":[]}', ErrorCode.FIELD_INVALID, "data: Expected `object`, got `array`", None),
    ('{"type":"JOIN","data":{"ref":3}}', ErrorCode.FIELD_INVALID, "data: Object missing required field `room`", 3),
    ('{"type":"JOIN","data":{"room":7,"ref":3}}', ErrorCode.FIELD_INVALID, "data.room: Expected `str`, got `int`", 3),
    ('{"type":"JOIN","data":{"room":"4 2","ref":"r"}}', ErrorCode.ROOM_INVALID, ROOM_RULE, "r"),
    ('{"type":"JOIN","data":{"room":""}}', ErrorCode.ROOM_INVALID, ROOM_RULE, None),
    (f'{{"type":"JOIN","data":{{"room":"{LONGEST}x"}}}}', ErrorCode.ROOM_INVALID, ROOM_RULE, None),
    ('{"type":"LEAVE","data":{"room":"弹幕"}}', ErrorCode.ROOM_INVALID, ROOM_RULE, None),
    ('{"type":"LEAVE","data":{"room":"42\\n"}}', ErrorCode.ROOM_INVALID, ROOM_RULE, None),
    (
        '{"type":"JOIN","data":{"room":"a","since":-1,"ref":4}}',
        ErrorCode.FIELD_INVALID,
        "data.since: Expected `int` >= 0",
        4,
    ),
    (
        f'{{"type":"JOIN","data":{{"room":"a","since":{MAX_INTEGER + 1}}}}}',
        ErrorCode.FIELD_INVALID,
        f"data.since: Expected `int` <= {MAX_INTEGER}",
        None,
    ),
    (
        f'{{"type":"JOIN","data":{{"room":"a","epoch":{"9" * 4000}}}}}',
        ErrorCode.FIELD_INVALID,
        "data.epoch: ",
        None,
    ),
    ('{"type":"JOIN","data":{"room":"a","since":1.5}}', ErrorCode.FIELD_INVALID, "data.since: Expected `int", None),
    (
        f'{{"type":"JOIN","data":{{"room":"a","ref":"{"x" * (REF_MAX_CHARS + 1)}"}}}}',
        ErrorCode.FIELD_INVALID,
        f"data.ref: Expected `str` of length <= {REF_MAX_CHARS}",
        None,
    ),
    (
        f'{{"type":"LEAVE","data":{{"room":"a","ref":{MAX_INTEGER + 1}}}}}',
        ErrorCode.FIELD_INVALID,
        f"data.ref: Expected `int` <= {MAX_INTEGER}",
        None,
    ),
    ('{"type":"LEAVE","data":{"room":"a","ref":[]}}', ErrorCode.FIELD_INVALID, "data.ref: Expected `int | str", None),
    ('{"type":"AUTH","data":{"ref":1}}', ErrorCode.FIELD_INVALID, "data: Object missing required field `token`", 1),
    ('{"type":"AUTH","data":{"token":5}}', ErrorCode.FIELD_INVALID, "data.token: Expected `str`", None),
    (
        '{"type":"SEND","data":{"room":"a","ref":1}}',
        ErrorCode.FIELD_INVALID,
        "data: Object missing required field `data`",
        1,
    ),
    (
        f'{{"type":"SEND","data":{{"room":"a","ref":1,"data":"{"x" * (DATA_MAX_BYTES - 1)}"}}}}',
        ErrorCode.DATA_TOO_LARGE,
        f"data.data: {DATA_MAX_BYTES + 1} bytes is over the limit of {DATA_MAX_BYTES}",
        1,
    ),
]

REPLIES: Final[list[tuple[Reply, str]]] = [
    (Pong(), '{"type":"PONG","data":{}}'),
    (
        Joined("42"),
        '{"type":"JOINED","data":{"room":"42","seq":0,"epoch":0,"online":0,"recovered":false}}',
    ),
    (
        Joined("42", 7, 9, 3, True, "r"),
        '{"type":"JOINED","data":{"room":"42","seq":7,"epoch":9,"online":3,"recovered":true,"ref":"r"}}',
    ),
    (Left("42"), '{"type":"LEFT","data":{"room":"42"}}'),
    (Left("42", 0), '{"type":"LEFT","data":{"room":"42","ref":0}}'),
    (Ack("r", 7), '{"type":"ACK","data":{"ref":"r","seq":7}}'),
    (Ack(None, 7), '{"type":"ACK","data":{"seq":7}}'),
    (
        Ack(1, None, User(id="7", name="前", role="member")),
        '{"type":"ACK","data":{"ref":1,"user":{"id":"7","name":"前","role":"member"}}}',
    ),
    (
        Error(ErrorCode.RATE_LIMITED, "SEND: at most 2 a second"),
        '{"type":"ERROR","data":{"code":"rate_limited","message":"SEND: at most 2 a second"}}',
    ),
    (
        Error(ErrorCode.JSON_INVALID, 'a "quote"', "r"),
        '{"type":"ERROR","data":{"code":"json_invalid","message":"a \\"quote\\"","ref":"r"}}',
    ),
    (Shed("42", 5), '{"type":"SHED","data":{"room":"42","count":5}}'),
    (Online("42", 5), '{"type":"ONLINE","data":{"room":"42","count":5}}'),
    (GoAway("draining", 250), '{"type":"GOAWAY","data":{"reason":"draining","reconnect_after_ms":250}}'),
]


def payload_of(frame: bytes) -> bytes:
    """Return the text of what must be exactly one text frame."""
    (event,), rest = receive(frame, None, role=Role.CLIENT, limits=MessageLimits(2**40))
    assert isinstance(event, Text)
    assert rest is None
    return event.payload


def refusal_of(payload: bytes) -> CommandError:
    """Return the error that a payload must get."""
    with pytest.raises(CommandError) as caught:
        DIALECT.decode_command(payload)
    return caught.value


@pytest.mark.parametrize(("text", "command"), COMMANDS)
def test_command(text: str, command: Command) -> None:
    """Each command is read as the table says; unknown fields are left to later versions."""
    assert DIALECT.decode_command(text.encode()) == command


def test_the_table_has_every_command() -> None:
    """No command is missing from the table."""
    assert {type(command) for _, command in COMMANDS} == set(Command.__args__)


@pytest.mark.parametrize(("text", "code", "message", "ref"), MISTAKES)
def test_mistake(text: str, code: ErrorCode, message: str, ref: str | int | None) -> None:
    """A wrong command gets its code, a text that names the field and the limit, and its ref where it has one."""
    error = refusal_of(text.encode())
    assert (error.code, error.ref) == (code, ref)
    assert message in str(error)
    assert len(str(error)) < 200


@pytest.mark.parametrize(
    "payload",
    [b"\xff", b'{"type":"\xff"}', b'{"type":"JOIN","data":{"room":"\xff"}}', b'{"type":"JOIN","data":{"ref":"\xff"}}'],
)
def test_not_utf_8(payload: bytes) -> None:
    """Bytes that are not UTF-8 never get this far; if they did, they would be refused, too."""
    assert refusal_of(payload).code in (ErrorCode.JSON_INVALID, ErrorCode.FIELD_INVALID)


@pytest.mark.parametrize(("reply", "text"), REPLIES)
def test_reply(reply: Reply, text: str) -> None:
    """Each reply is one text frame with exactly this text; fields without a value are left out."""
    assert payload_of(DIALECT.encode_reply(reply)).decode() == text


def test_the_table_has_every_reply() -> None:
    """No reply is missing from the table."""
    assert {type(reply) for reply, _ in REPLIES} == set(Reply.__args__)


def test_room_batch() -> None:
    """A PUSH carries the publisher's values byte for byte, spaces, escapes and number formats included."""
    items = [b'{"n": 1.0}', b'"\\u524d"', "前".encode(), b"1e3", b"[ ]"]
    text = payload_of(DIALECT.encode_room_batch("live://1", [items[0], items[1], items[3], items[4]], 1007, 9))
    assert (
        text
        == b'{"type":"PUSH","data":{"room":"live://1","items":[{"n": 1.0},"\\u524d",1e3,[ ]],"seq":1007,"epoch":9}}'
    )


def test_direct_batch() -> None:
    """A PUSH that belongs to no room says to whom it goes and has no sequence."""
    text = payload_of(DIALECT.encode_direct_batch("all", [b"1", b'"x"']))
    assert text == b'{"type":"PUSH","data":{"to":"all","items":[1,"x"]}}'


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
with_surrogates = st.text(st.characters())
fields = st.sampled_from(["room", "ref", "since", "epoch", "token", "data"])
nearly_commands = st.fixed_dictionaries(
    {"type": st.sampled_from(["PING", "AUTH", "JOIN", "LEAVE", "SEND", "PUSH"]) | json_values},
    optional={"data": st.dictionaries(fields, json_values | st.just("42") | with_surrogates, max_size=6) | json_values},
)


@given(st.lists(json_values, max_size=5))
def test_items_are_the_values_that_were_pushed(values: list[Any]) -> None:
    """Whatever is pushed, a standard JSON parser finds the same values in the batch."""
    items = [json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass") for value in values]
    parsed = json.loads(payload_of(DIALECT.encode_room_batch("42", items, len(items), 1)))
    assert parsed == {"type": "PUSH", "data": {"room": "42", "items": values, "seq": len(items), "epoch": 1}}


@given(st.binary(max_size=100))
def test_any_bytes(payload: bytes) -> None:
    """Any bytes are a command or refused with CommandError, never anything else."""
    with contextlib.suppress(CommandError):
        assert isinstance(DIALECT.decode_command(payload), Command)


@given(json_values | nearly_commands | with_surrogates, st.booleans())
def test_any_json(value: Any, ascii_only: bool) -> None:
    """Any JSON is a command or refused with CommandError, lone surrogates and huge integers included."""
    try:
        payload = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
        assert isinstance(DIALECT.decode_command(payload), Command)
    except CommandError as error:
        # Whatever the error, it can be told to the client.
        payload_of(DIALECT.encode_reply(Error(error.code, str(error), error.ref)))


@given(json_values, st.none() | st.text(max_size=REF_MAX_CHARS) | st.integers(-MAX_INTEGER, MAX_INTEGER))
def test_send_passes_on_what_was_sent(value: Any, ref: str | int | None) -> None:
    """The data of a SEND is passed on as it came, and its ref comes back."""
    data = json.dumps(value)
    text = f'{{"type":"SEND","data":{{"room":"42","ref":{json.dumps(ref)},"data": {data} }}}}'
    assert DIALECT.decode_command(text.encode()) == Send(ROOM, data.encode(), ref)

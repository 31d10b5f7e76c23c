"""Bodies: the publisher's own bytes come through; complaints name the field."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logic.api.bodies import decode_items, decode_line, decode_push, idempotency_of, messages_of
from logic.api.problems import Problem
from protocol.codes import ErrorCode
from protocol.limits import DATA_MAX_BYTES, PUSH_MAX_MESSAGES
from protocol.message import Delivery, Message, Priority

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=12,
)


@st.composite
def json_texts(draw: st.DrawFn) -> bytes:
    """Any JSON value as a publisher might write it: with or without spaces, escaped or not."""
    separators = draw(st.sampled_from([(",", ":"), (", ", ": "), (" ,\n", " :\t")]))
    text = json.dumps(draw(JSON_VALUES), ensure_ascii=draw(st.booleans()), separators=separators)
    return text.encode("utf-8", "replace")


@given(json_texts(), st.sampled_from([b"", b" ", b"\r\n\t"]))
def test_data_is_the_publishers_own_bytes(text: bytes, space: bytes) -> None:
    """The data of a message is exactly the bytes of the value in the body, bare or listed, without the space around."""
    assert decode_push(b'{"data":' + space + text + space + b"}") == [Message(text)]
    assert decode_push(b'{"messages":[{"data":' + space + text + b"}]}") == [Message(text)]
    assert messages_of(decode_line(b'{"room":"1","data":' + text + space + b"}")) == [Message(text)]
    assert decode_items(b"[" + text + space + b"," + text + b"]") == [Message(text), Message(text)]


@given(st.binary(max_size=64) | json_texts())
def test_any_bytes_are_taken_or_refused_with_a_problem(body: bytes) -> None:
    """Whatever the body holds, the outcome is messages of valid JSON or a Problem, nothing else."""
    for text in (body, b'{"data":' + body + b"}"):
        try:
            messages = decode_push(text)
        except Problem:
            continue
        for message in messages:
            json.loads(message.data.decode("utf-8"))


def test_fields_of_a_message() -> None:
    """Delivery and priority are taken where given and are lossy and normal where not."""
    body = b'{"messages":[{"data":1,"delivery":"reliable","priority":"high"},{"data":2},{"priority":"low","data":3}]}'
    assert decode_push(body) == [
        Message(b"1", Delivery.RELIABLE, Priority.HIGH),
        Message(b"2", Delivery.LOSSY, Priority.NORMAL),
        Message(b"3", Delivery.LOSSY, Priority.LOW),
    ]
    assert decode_push(b'{"data":[],"delivery":"reliable"}') == [Message(b"[]", Delivery.RELIABLE)]
    assert decode_push(b'{"priority":"low","data":null}') == [Message(b"null", priority=Priority.LOW)]


def test_limits_are_inclusive() -> None:
    """The largest data and the longest list that the limits name are taken."""
    data = b'"' + b"x" * (DATA_MAX_BYTES - 2) + b'"'
    assert decode_push(b'{"data":' + data + b"}") == [Message(data)]
    many = b'{"messages":[' + b",".join([b'{"data":1}'] * PUSH_MAX_MESSAGES) + b"]}"
    assert len(decode_push(many)) == PUSH_MAX_MESSAGES


BIG = b'"' + b"x" * (DATA_MAX_BYTES - 1) + b'"'
J, F = ErrorCode.JSON_INVALID, ErrorCode.FIELD_INVALID
BODIES: list[tuple[bytes, ErrorCode, str | None, str]] = [
    (b"", J, "body", "is empty"),
    (b"  \n", J, "body", "is empty"),
    (b"{", J, "body", "ends too early (byte 1)"),
    (b'{"data":1}x', J, "body", "trailing characters"),
    (b'{"data":tru}', J, "body", "byte 9"),
    (b'{"data":NaN}', J, "body", "byte 8"),
    (b'{"data":01}', J, "body", "byte 9"),
    (b'{"data":"a\nb"}', J, "body", "byte 10"),
    (b'{"data":"\xff"}', J, "body", "not UTF-8: invalid start byte (byte 9)"),
    (b'{"data":"\xed\xa0\x80"}', J, "body", "not UTF-8"),
    (b'\xef\xbb\xbf{"data":1}', J, "body", "byte 0"),
    (b'{"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", J, "body", "nested too deeply"),
    (b"[]", F, "body", "expected `object`, got `array`"),
    (b"{}", F, "messages", "is missing"),
    (b'{"messages":[]}', F, "messages", "1 to 1000"),
    (b'{"messages":null}', F, "messages", "expected `array`"),
    (b'{"messages":[1]}', F, "messages[0]", "expected `object`"),
    (b'{"messages":[{"data":1},{}]}', F, "messages[1].data", "is missing"),
    (b'{"messages":[{"data":1,"prio":1}]}', F, "messages[0].prio", "is not a field"),
    (b'{"message":[{"data":1}]}', F, "message", "is not a field"),
    (b'{"data":1,"delivery":"sure"}', F, "delivery", "lossy, reliable"),
    (b'{"messages":[{"data":1,"priority":2}]}', F, "messages[0].priority", "low, normal, high"),
    (b'{"messages":[{"data":1}],"data":2}', F, "messages", "inside the messages"),
    (b'{"messages":[{"data":1}],"priority":"low"}', F, "messages", "inside the messages"),
    (b'{"data":' + BIG + b"}", ErrorCode.DATA_TOO_LARGE, "data", "has 16385 bytes, the limit is 16384"),
    (
        b'{"messages":[{"data":1},{"data":' + BIG + b"}]}",
        ErrorCode.DATA_TOO_LARGE,
        "messages[1].data",
        "has 16385 bytes, the limit is 16384",
    ),
    (
        b'{"messages":[' + b",".join([b'{"data":1}'] * 1001) + b"]}",
        ErrorCode.TOO_MANY_MESSAGES,
        "messages",
        "has 1001 messages, the limit is 1000",
    ),
]


@pytest.mark.parametrize(
    ("body", "code", "field", "detail"), BODIES, ids=[row[0][:40].decode("latin-1") for row in BODIES]
)
def test_bad_bodies(body: bytes, code: ErrorCode, field: str | None, detail: str) -> None:
    """Each bad body is refused with its code, the field at fault and the limit that was broken."""
    with pytest.raises(Problem) as caught:
        decode_push(body)
    assert (caught.value.code, caught.value.field) == (code, field)
    assert detail in caught.value.detail
    assert caught.value.detail.startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        (b"", J, "items"),
        (b"{}", F, "items"),
        (b"[]", F, "items"),
        (b"[1,", J, "items"),
        (b"[1," + BIG + b"]", ErrorCode.DATA_TOO_LARGE, "items[1]"),
        (b"[" + b",".join([b"1"] * 1001) + b"]", ErrorCode.TOO_MANY_MESSAGES, "items"),
    ],
)
def test_bad_items(text: bytes, code: ErrorCode, field: str) -> None:
    """Each bad array of a form is refused with its code and the item at fault."""
    with pytest.raises(Problem) as caught:
        decode_items(text)
    assert (caught.value.code, caught.value.field) == (code, field)


def test_an_error_repeats_little_of_the_clients_text() -> None:
    """A field name of a megabyte does not come back in the problem."""
    with pytest.raises(Problem) as caught:
        decode_push(b'{"' + b"x" * 1_000_000 + b'":1}')
    assert len(msgspec.json.encode(caught.value.document())) < 1000


def test_fingerprint_covers_what_is_pushed_and_where_not_how() -> None:
    """The same messages to the same target have one fingerprint; another target, data, field or split has another."""
    base = [Message(b"1"), Message(b"2")]
    known = idempotency_of("shop", "k", "room 1", base)
    assert known == idempotency_of("shop", "k", "room 1", decode_push(b'{ "messages" : [{"data":1}, {"data":2}]}'))
    others = [
        ("room 2", base),
        ("room 1", [Message(b"1"), Message(b"3")]),
        ("room 1", [Message(b"12")]),
        ("room 1", [Message(b"1", Delivery.RELIABLE), Message(b"2")]),
        ("room 1", [Message(b"1"), Message(b"2", priority=Priority.HIGH)]),
    ]
    fingerprints = {idempotency_of("shop", "k", target, messages).fingerprint for target, messages in others}
    assert len(fingerprints) == len(others)
    assert known.fingerprint not in fingerprints


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "x" * 129, "a\x7f"])
def test_bad_idempotency_keys(key: str) -> None:
    """An idempotency key outside 1 to 128 visible ASCII characters is refused."""
    with pytest.raises(Problem) as caught:
        idempotency_of("shop", key, "room 1", [])
    assert caught.value.code is F
    assert "1 to 128 visible ASCII" in caught.value.detail

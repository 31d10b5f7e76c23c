"""Pushes over HTTP: what arrives at the publisher and what the answer says."""

import asyncio

import pytest

from logic.model import DirectPushRequest, RoomPushRequest
from protocol.message import Delivery, Message, Priority
from tests.logic.api.conftest import AUTH, KEY, Api
from tests.logic.api.memory import EPOCH, unavailable

JSON = {**AUTH, "Content-Type": "application/json"}
RAW = (
    b'{"messages":[{"data":{"b" :1,\n"a":"\\u524d\xe6\x8e\x92"}},'
    b'{"data":2.50,"delivery":"reliable","priority":"high"}]}'
)


async def test_a_room_push_arrives_as_the_publishers_bytes(api: Api) -> None:
    """The publisher gets the room and the messages, data byte for byte; the answer tells sequences, epoch and reach."""
    async with api.session.post(f"{api.url}/v1/rooms/live%2F42/messages", data=RAW, headers=JSON) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert "Idempotency-Replayed" not in answer.headers
        assert await answer.json() == {
            "accepted": 2,
            "first_seq": 1,
            "last_seq": 2,
            "epoch": EPOCH,
            "gateways": {"reached": 2, "failed": 0},
        }
    (push,) = api.publishing.pushes
    assert push == RoomPushRequest(
        "live/42",  # type: ignore[arg-type]  # a plain string equals a room
        [
            Message(b'{"b" :1,\n"a":"\\u524d\xe6\x8e\x92"}'),
            Message(b"2.50", Delivery.RELIABLE, Priority.HIGH),
        ],
    )


@pytest.mark.parametrize(("path", "user"), [("/v1/users/u%407/messages", "u@7"), ("/v1/broadcast", None)])
async def test_direct_pushes_have_no_sequence(api: Api, path: str, user: str | None) -> None:
    """A push to a user or to everybody reaches the publisher as such, and its receipt has no sequence."""
    async with api.session.post(api.url + path, data=b'{"data":[1, 2]}', headers=JSON) as answer:
        assert answer.status == 200
        assert await answer.json() == {"accepted": 1, "gateways": {"reached": 2, "failed": 0}}
    (push,) = api.publishing.pushes
    assert isinstance(push, DirectPushRequest)
    assert push.user == user
    assert push.messages == [Message(b"[1, 2]")]


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", 'application/json;charset="UTF-8"']
)
async def test_content_types_that_mean_json_in_utf8(api: Api, content_type: str) -> None:
    """The usual spellings of JSON in UTF-8 are taken."""
    headers = {**AUTH, "Content-Type": content_type}
    async with api.session.post(f"{api.url}/v1/broadcast", data=b'{"data":1}', headers=headers) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/v1/rooms/42/messages", "/v1/users/7/messages", "/v1/broadcast"])
async def test_a_retry_with_a_key_publishes_once(api: Api, path: str) -> None:
    """The same push with the same Idempotency-Key is published once; the replay says so and is otherwise the same."""
    answers = []
    for _ in range(2):
        headers = {**JSON, "Idempotency-Key": "order-1"}
        async with api.session.post(api.url + path, data=b'{"data":1}', headers=headers) as answer:
            answers.append((answer.status, answer.headers.get("Idempotency-Replayed"), await answer.read()))
    assert [row[:2] for row in answers] == [(200, None), (200, "true")]
    assert answers[0][2] == answers[1][2]
    assert len(api.publishing.pushes) == 1


async def test_a_key_used_for_another_push_is_a_conflict(api: Api) -> None:
    """The same Idempotency-Key with other data is 409 and publishes nothing."""
    headers = {**JSON, "Idempotency-Key": "order-1"}
    async with api.session.post(f"{api.url}/v1/rooms/42/messages", data=b'{"data":1}', headers=headers):
        pass
    async with api.session.post(f"{api.url}/v1/rooms/42/messages", data=b'{"data":2}', headers=headers) as answer:
        assert answer.status == 409
        assert (await answer.json(content_type=None))["code"] == "idempotency_conflict"
    assert len(api.publishing.pushes) == 1


async def test_idempotency_belongs_to_the_keys_name(api: Api) -> None:
    """The publisher is told who owns the idempotency key: the name of the API key, never its text."""
    headers = {**JSON, "Idempotency-Key": "order-1"}
    async with api.session.post(f"{api.url}/v1/rooms/42/messages", data=b'{"data":1}', headers=headers):
        pass
    idempotency = api.publishing.pushes[0].idempotency
    assert idempotency is not None
    assert (idempotency.owner, idempotency.key) == ("tester", "order-1")
    assert KEY not in repr(idempotency)


async def test_nothing_could_take_the_push(api: Api) -> None:
    """When the publisher can reach nothing the answer is 503 with Retry-After, and the next push may work again."""
    api.publishing.failure = unavailable()
    async with api.session.post(f"{api.url}/v1/rooms/42/messages", data=b'{"data":1}', headers=JSON) as answer:
        assert answer.status == 503
        assert answer.headers["Retry-After"] == "3"
        assert (await answer.json(content_type=None))["code"] == "unavailable"
    api.publishing.failure = None
    async with api.session.post(f"{api.url}/v1/rooms/42/messages", data=b'{"data":1}', headers=JSON) as answer:
        assert answer.status == 200


async def test_pushes_of_one_connection_keep_their_order(api: Api) -> None:
    """Pipelined pushes to one room reach the publisher in the order they were sent."""
    count = 50
    requests = b"".join(
        b"POST /v1/rooms/42/messages HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (KEY.encode(), len(body), body)
        for body in (b'{"data":%d}' % number for number in range(count))
    )
    reader, writer = await api.raw(requests)
    try:
        for _ in range(count):
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            await reader.readuntil(b"}}")
    finally:
        writer.close()
        await writer.wait_closed()
    assert [bytes(push.messages[0].data) for push in api.publishing.pushes] == [b"%d" % n for n in range(count)]


async def test_concurrent_pushes_are_all_answered(api: Api) -> None:
    """Many pushes at once each get their own sequence."""

    async def push(number: int) -> int:
        body = b'{"data":%d}' % number
        async with api.session.post(f"{api.url}/v1/rooms/42/messages", data=body, headers=JSON) as answer:
            return int((await answer.json())["first_seq"])

    sequences = await asyncio.gather(*(push(number) for number in range(60)))
    assert sorted(sequences) == list(range(1, 61))

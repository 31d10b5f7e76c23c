"""The older Go server's calls."""

import asyncio
import shutil

import pytest

from logic.api.options import ApiOptions
from logic.model import DirectPushRequest, RoomPushRequest
from protocol.message import Message
from tests.logic.api.conftest import AUTH, KEY, READ_KEY, Api, serving
from tests.logic.api.memory import EPOCH

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


async def test_a_room_push_of_the_old_kind(api: Api) -> None:
    """`room` and `items` reach the publisher, each item's bytes as they were; the receipt is the new API's."""
    items = '[{"b" :1,"a":"前 排+&="},2.50,null]'
    async with api.session.post(
        f"{api.url}/push/room", data={"room": "live/42", "items": items}, headers=AUTH
    ) as answer:
        assert answer.status == 200
        assert await answer.json() == {
            "accepted": 3,
            "first_seq": 1,
            "last_seq": 3,
            "epoch": EPOCH,
            "gateways": {"reached": 2, "failed": 0},
        }
    assert api.publishing.pushes == [
        RoomPushRequest(
            "live/42",  # type: ignore[arg-type]  # a plain string equals a room
            [Message('{"b" :1,"a":"前 排+&="}'.encode()), Message(b"2.50"), Message(b"null")],
        )
    ]


async def test_a_push_to_all_of_the_old_kind(api: Api) -> None:
    """`items` reach everybody; a `room` beside them means nothing, as before."""
    async with api.session.post(f"{api.url}/push/all", data={"room": "a b", "items": "[1]"}, headers=AUTH) as answer:
        assert await answer.json() == {"accepted": 1, "gateways": {"reached": 2, "failed": 0}}
    assert api.publishing.pushes == [DirectPushRequest(None, [Message(b"1")])]


async def test_bytes_that_were_not_escaped(api: Api) -> None:
    """UTF-8 that a careless caller did not percent-encode is the same text; the first of two equal fields counts."""
    body = 'room=42&room=43&items=["前+排"]'.encode()
    async with api.session.post(f"{api.url}/push/room", data=body, headers={**AUTH, **FORM}) as answer:
        assert answer.status == 200
    assert api.publishing.pushes[0].messages[0].data == '"前 排"'.encode()
    assert api.publishing.pushes[0].room == "42"  # type: ignore[union-attr]  # it is a room push


@pytest.mark.parametrize(
    ("query", "headers", "status"),
    [
        (f"?key={KEY}", {}, 200),
        (f"?key={KEY}", {"Authorization": "Bearer wrong"}, 401),
        ("?key=wrong", AUTH, 200),
        ("?key=wrong", {}, 401),
        ("?key=", {}, 401),
        ("?key=%ed%a0%80%ff", {}, 401),
        (f"?key={READ_KEY}", {}, 403),
        ("", {}, 401),
    ],
)
async def test_where_the_key_may_be(api: Api, query: str, headers: dict[str, str], status: int) -> None:
    """The key comes in the header or else in the query; it is checked like any."""
    url = f"{api.url}/push/all{query}"
    async with api.session.post(url, data={"items": "[1]"}, headers=headers) as answer:
        assert answer.status == status


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/push/all", {}, 200),
        ("/push/room", {}, 200),
        ("/push/all", {"Authorization": "Bearer wrong"}, 401),
        ("/push/all?key=wrong", {}, 401),
        ("/push/all", {"Origin": "https://elsewhere.example"}, 401),
        ("/push/all", {"X-Forwarded-For": "203.0.113.9"}, 401),
        ("/push/all", {"Forwarded": "for=203.0.113.9"}, 401),
        ("/v1/broadcast", {}, 401),
    ],
)
async def test_loopback_without_a_key(path: str, headers: dict[str, str], status: int) -> None:
    """With the option, programs on this machine need no key for these two calls: not web pages (Origin), not whom a
    proxy speaks for, and nobody with a wrong key."""
    async with serving(ApiOptions(loopback_without_key=True)) as api:
        form = {"room": "42", "items": "[1]"}
        async with api.session.post(api.url + path, data=form, headers=headers) as answer:
            assert answer.status == status


async def test_a_retry_from_loopback_without_a_key() -> None:
    """Callers without a key share an owner of idempotency keys that no key can be named like."""
    async with serving(ApiOptions(loopback_without_key=True)) as api:
        replayed = []
        for _ in range(2):
            headers = {"Idempotency-Key": "k"}
            async with api.session.post(f"{api.url}/push/all", data={"items": "[1]"}, headers=headers) as answer:
                replayed.append(answer.headers.get("Idempotency-Replayed"))
        assert replayed == [None, "true"]
        idempotency = api.publishing.pushes[0].idempotency
        assert idempotency is not None
        assert idempotency.owner == "@loopback"


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
async def test_curl_as_it_is_typed(api: Api) -> None:
    """A `curl -d` line with the key in the address works as it did with the older server."""
    curl = await asyncio.create_subprocess_exec(
        *("curl", "-sS", "-w", " %{http_code}", f"{api.url}/push/all?key={KEY}", "-d", 'items=[{"type":"notice"}]'),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await curl.communicate()
    assert output.endswith(b" 200")

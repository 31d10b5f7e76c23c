"""The bulk stream: one result a line, in order, while the request is still being sent."""

import asyncio
import json
from types import TracebackType
from typing import Any

import pytest
from structlog.testing import capture_logs

from logic.api.bulk import LINE_MAX_BYTES
from logic.api.options import ApiOptions
from logic.model import DirectPushRequest, RoomPushRequest
from protocol.message import Delivery, Message
from tests.logic.api.conftest import AUTH, KEY, PUBLISH_KEY, Api, serving
from tests.logic.api.memory import EPOCH, unavailable

REACH = {"reached": 2, "failed": 0}


class BulkClient:
    """A publisher that keeps a chunked request open on a socket of its own."""

    def __init__(self, api: Api, key: str = KEY) -> None:
        self._api = api
        self._key = key
        self._buffer = b""
        self.ended = False

    async def __aenter__(self) -> "BulkClient":
        self._reader, self.writer = await self._api.raw(
            b"POST /v1/publish HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n"
            b"Content-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n" % self._key.encode()
        )
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        assert b"Content-Type: application/x-ndjson\r\n" in head
        assert b"X-Request-Id: " in head
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    def send(self, data: bytes) -> None:
        """Send bytes as one chunk."""
        self.writer.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        """End the request."""
        self.writer.write(b"0\r\n\r\n")

    async def result(self) -> dict[str, Any] | None:
        """Return the next result line; None at the end of the response."""
        while b"\n" not in self._buffer and not self.ended:
            size = int(await self._reader.readuntil(b"\r\n"), 16)
            self._buffer += (await self._reader.readexactly(size + 2))[:-2]
            self.ended = size == 0
        line, newline, self._buffer = self._buffer.partition(b"\n")
        if not newline:
            assert not line
            return None
        value: dict[str, Any] = json.loads(line)
        return value

    async def results(self) -> list[dict[str, Any]]:
        """Return the results up to the end of the response."""
        found = []
        while (result := await self.result()) is not None:
            found.append(result)
        return found


def ok(line: int, count: int, first: int) -> dict[str, Any]:
    """Return the result of a push to a room."""
    return {
        "line": line,
        "accepted": count,
        "first_seq": first,
        "last_seq": first + count - 1,
        "epoch": EPOCH,
        "gateways": REACH,
    }


async def test_results_come_while_the_request_is_open(api: Api) -> None:
    """Each line is answered before the next is sent: the stream can stay open for ever."""
    async with BulkClient(api) as client:
        for number in range(1, 4):
            client.send(b'{"room":"42","data":%d}\n' % number)
            assert await client.result() == ok(number, 1, number)
        client.end()
        assert await client.result() is None


async def test_every_kind_of_target(api: Api) -> None:
    """A line pushes to a room, a user or everybody, one bare message or many, and the publisher gets its bytes."""
    async with BulkClient(api) as client:
        client.send(b'{"room":"42","messages":[{"data":{"a" :1}},{"data":2,"delivery":"reliable"}]}\n')
        client.send(b'{"user":"7","data":"x"}\r\n{"broadcast":true,"data":null}')
        client.end()
        assert await client.results() == [
            ok(1, 2, 1),
            {"line": 2, "accepted": 1, "gateways": REACH},
            {"line": 3, "accepted": 1, "gateways": REACH},
        ]
    assert api.publishing.pushes == [
        RoomPushRequest("42", [Message(b'{"a" :1}'), Message(b"2", Delivery.RELIABLE)]),  # type: ignore[arg-type]  # a room
        DirectPushRequest("7", [Message(b'"x"')]),  # type: ignore[arg-type]  # a plain string equals a user id
        DirectPushRequest(None, [Message(b"null")]),
    ]


async def test_a_line_may_come_in_pieces(api: Api) -> None:
    """Where the pieces of a line are cut does not matter, inside a character included."""
    line = '{"room":"42","data":"前排"}\n'.encode()
    async with BulkClient(api) as client:
        for position in range(len(line)):
            client.send(line[position : position + 1])
            await client.writer.drain()
        assert await client.result() == ok(1, 1, 1)
    assert api.publishing.pushes[0].messages[0].data == '"前排"'.encode()


async def test_blank_lines_have_no_result_and_count(api: Api) -> None:
    """Blank lines keep a connection busy; they have no result, and `line` is the line's number in the request."""
    async with BulkClient(api) as client:
        client.send(b'\n \r\n{"room":"42","data":1}\n\n')
        client.end()
        assert await client.results() == [ok(3, 1, 1)]


async def test_an_idempotency_key_in_a_line(api: Api) -> None:
    """A repeated line with its key is published once and answered as replayed; another push with it is a conflict."""
    async with BulkClient(api) as client:
        client.send(b'{"room":"42","data":1,"idempotency_key":"k"}\n' * 2)
        client.send(b'{"room":"42","data":2,"idempotency_key":"k"}\n{"user":"7","data":2,"idempotency_key":""}\n')
        client.end()
        results = await client.results()
    assert results[:2] == [ok(1, 1, 1), {**ok(2, 1, 1), "replayed": True}]
    assert [result["error"]["code"] for result in results[2:]] == ["idempotency_conflict", "field_invalid"]
    assert len(api.publishing.pushes) == 1


BAD_LINES = [
    (b"nonsense", 400, "json_invalid", "line: is not JSON"),
    (b'{"room":"42","data":"\xff"}', 400, "json_invalid", "not UTF-8"),
    (b'{"room":"42","data":' + b"[" * 200_000 + b"]" * 200_000 + b"}", 400, "json_invalid", "nested too deeply"),
    (b"[]", 422, "field_invalid", "line: expected"),
    (b'{"data":1}', 422, "field_invalid", "exactly one of room, user and broadcast"),
    (b'{"room":"42","user":"7","data":1}', 422, "field_invalid", "exactly one of room, user and broadcast"),
    (b'{"broadcast":false,"data":1}', 422, "field_invalid", "broadcast: can only be true"),
    (b'{"room":"a b","data":1}', 422, "room_invalid", "room: must be 1 to 128"),
    (b'{"room":"","data":1}', 422, "room_invalid", "room: must be 1 to 128"),
    (b'{"user":"a b","data":1}', 422, "user_invalid", "user: must be 1 to 128"),
    (b'{"room":42,"data":1}', 422, "field_invalid", "room: expected `str`"),
    (b'{"room":"42"}', 422, "field_invalid", "messages: is missing"),
    (b'{"room":"42","data":1,"ttl":5}', 422, "field_invalid", "ttl: is not a field"),
    (b'{"room":"42","messages":[]}', 422, "field_invalid", "1 to 1000"),
    (
        b'{"room":"42","messages":[' + b",".join([b'{"data":1}'] * 1001) + b"]}",
        422,
        "too_many_messages",
        "has 1001 messages, the limit is 1000",
    ),
    (b'{"room":"42","data":"' + b"x" * 16383 + b'"}', 413, "data_too_large", "has 16385 bytes, the limit is 16384"),
]


async def test_a_bad_line_is_answered_and_the_stream_goes_on(api: Api) -> None:
    """Every bad line gets its problem in its place, and the good lines between them are published."""
    async with BulkClient(api) as client:
        for line, *_ in BAD_LINES:
            client.send(line + b'\n{"room":"42","data":1}\n')
        client.end()
        results = await client.results()
    assert [result["line"] for result in results] == list(range(1, 2 * len(BAD_LINES) + 1))
    for (line, status, code, detail), result in zip(BAD_LINES, results[::2], strict=True):
        problem = result["error"]
        assert (problem["status"], problem["code"]) == (status, code), line[:60]
        assert detail in problem["detail"]
    assert results[1::2] == [ok(2 * number, 1, number) for number in range(1, len(BAD_LINES) + 1)]


async def test_scopes_are_checked_for_each_line(api: Api) -> None:
    """A key that may only publish to rooms gets 403 for the lines to users and to everybody."""
    async with BulkClient(api, PUBLISH_KEY) as client:
        client.send(b'{"user":"7","data":1}\n{"room":"42","data":1}\n{"broadcast":true,"data":1}\n')
        client.end()
        first, second, third = await client.results()
    assert (first["error"]["code"], third["error"]["code"]) == ("forbidden", "forbidden")
    assert "scope user" in first["error"]["detail"]
    assert second == ok(2, 1, 1)


async def test_a_line_over_the_limit_ends_the_stream(api: Api) -> None:
    """A line that is too long is answered as the last one, whether its end came or not; earlier lines are published."""
    for rest in (b"", b'\n{"room":"42","data":1}\n'):
        async with BulkClient(api) as client:
            client.send(b'{"room":"42","data":1}\n')
            client.send(b" " * (LINE_MAX_BYTES + 1) + rest)
            first, last = await client.results()
        assert first["accepted"] == 1
        assert (last["line"], last["error"]["status"], last["error"]["code"]) == (2, 413, "body_too_large")
        assert str(LINE_MAX_BYTES) in last["error"]["detail"]
    assert len(api.publishing.pushes) == 2


async def test_results_keep_the_order_of_the_lines(api: Api) -> None:
    """A line that is refused at once waits for the results of the lines before it."""
    api.publishing.hold = True
    async with BulkClient(api) as client:
        client.send(b'{"room":"42","data":1}\nnonsense\n{"room":"42","data":2}\n')
        client.end()
        while api.publishing.waiting < 2:
            await asyncio.sleep(0)
        api.publishing.release()
        results = await client.results()
    assert [result["line"] for result in results] == [1, 2, 3]
    assert (results[0], results[2]) == (ok(1, 1, 1), ok(3, 1, 2))


async def test_failures_of_the_publisher_are_per_line(api: Api) -> None:
    """When nothing can take pushes each line says so; what nobody foresaw is an internal error without its text."""
    with capture_logs() as logs:
        await _fail_and_recover(api)
    (line,) = logs
    assert line["log_level"] == "error"
    assert str(line["exc_info"]) == "secret of ours"


async def _fail_and_recover(api: Api) -> None:
    async with BulkClient(api) as client:
        api.publishing.failure = unavailable()
        client.send(b'{"room":"42","data":1}\n')
        assert ((await client.result()) or {})["error"]["code"] == "unavailable"
        api.publishing.failure = RuntimeError("secret of ours")
        client.send(b'{"room":"42","data":1}\n')
        result = await client.result()
        assert result is not None
        assert result["error"]["code"] == "internal"
        assert "secret" not in json.dumps(result)
        api.publishing.failure = None
        client.send(b'{"room":"42","data":1}\n')
        assert await client.result() == ok(3, 1, 1)


@pytest.mark.parametrize(
    "options",
    [ApiOptions(bulk_messages_in_flight=100), ApiOptions(bulk_bytes_in_flight=100 * 1024)],
    ids=["messages", "bytes"],
)
async def test_reading_pauses_while_too_much_is_unanswered(options: ApiOptions) -> None:
    """With the publisher stuck the socket is not read beyond the bound and a read's worth; then all goes on."""
    async with serving(options) as api:
        api.publishing.hold = True
        total = 30_000  # lines of a KiB: far more than the buffers of two sockets hold
        async with BulkClient(api) as client:
            sending = asyncio.create_task(_send_all(client, total))
            results = asyncio.create_task(client.results())
            stuck = await _settled(api)
            # The bound, and the chunk in which it was reached: at most the reader's two high-water marks.
            assert 100 <= stuck <= 100 + 2 * 2**17 // 1024
            assert not sending.done()
            api.publishing.release()
            await sending
            assert [result["line"] for result in await results] == list(range(1, total + 1))
    assert len(api.publishing.pushes) == total


async def test_a_publisher_that_does_not_read_its_results_is_not_read(api: Api) -> None:
    """Results that are not read fill the sockets, and then the request is not read either: nothing grows."""
    async with BulkClient(api) as client:
        sending = asyncio.create_task(_send_all(client, 10**9))
        count, before = 0, -1
        while count != before:
            before = count
            await asyncio.sleep(0.3)  # nothing signals that nothing happens
            count = len(api.publishing.pushes)
        assert count > 0
        assert not sending.done()
        sending.cancel()
        client.writer.transport.abort()


async def test_a_client_that_leaves_has_its_lines_published(api: Api) -> None:
    """What was submitted when the connection broke is published, and no failure of it is left unnoticed."""
    api.publishing.hold = True
    async with BulkClient(api) as client:
        client.send(b'{"room":"42","data":1}\n' * 10)
        while api.publishing.waiting < 10:
            await asyncio.sleep(0)
        client.writer.transport.abort()
    api.publishing.failure = unavailable()
    async with BulkClient(api) as other:
        api.publishing.release()
        api.publishing.failure = None
        other.send(b'{"room":"42","data":1}\n')
        assert await other.result() == ok(1, 1, 1)


async def test_stopping_ends_open_streams(api: Api) -> None:
    """When the process leaves, an open stream sends the results it owes, says so as the next line, and ends."""
    async with BulkClient(api) as client:
        client.send(b'{"room":"42","data":1}\n')
        assert await client.result() == ok(1, 1, 1)
        stopping = asyncio.create_task(api.runner.cleanup())
        (last,) = await client.results()
        assert (last["line"], last["error"]["code"]) == (2, "unavailable")
        assert "stopping" in last["error"]["detail"]
    await stopping


async def test_numbers(api: Api) -> None:
    """Accepted messages, lines and refused lines are counted."""
    async with BulkClient(api) as client:
        client.send(b'{"room":"42","messages":[{"data":1},{"data":2}]}\nnonsense\n{"room":"42","data":1}\n')
        client.end()
        await client.results()
    assert api.metric("logic_api_messages_accepted_total", route="/v1/publish") == 3
    assert api.metric("logic_api_problems_total", code="json_invalid") == 1
    assert api.metric("logic_api_bulk_lines_total") == 3


async def test_an_ordinary_client_can_send_a_file(api: Api) -> None:
    """A request of known length is the same: one result a line."""
    headers = {**AUTH, "Content-Type": "application/x-ndjson"}
    async with api.session.post(
        f"{api.url}/v1/publish", data=b'{"room":"42","data":1}\n' * 1000, headers=headers
    ) as answer:
        lines = (await answer.text()).splitlines()
    assert [json.loads(line) for line in lines] == [ok(number, 1, number) for number in range(1, 1001)]


async def _send_all(client: BulkClient, total: int) -> None:
    line = b'{"room":"42","data":"'.ljust(1021, b"x") + b'"}\n'
    for start in range(0, total, 100):
        client.send(line * min(100, total - start))
        await client.writer.drain()
    client.end()


async def _settled(api: Api) -> int:
    """Return how many pushes wait once their number does not change any more."""
    before = -1
    while api.publishing.waiting != before or before == 0:
        before = api.publishing.waiting
        await asyncio.sleep(0.2)  # nothing signals that nothing happens
    return before

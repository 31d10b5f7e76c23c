"""Request bodies on the wire: refused before they are read, cut off while they are read."""

import asyncio
import json

import pytest

from logic.api.options import ApiOptions
from tests.logic.api.conftest import KEY, Api, serving

MIB = 1024 * 1024
HEAD = (
    b"POST /v1/rooms/42/messages HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Authorization: Bearer " + KEY.encode() + b"\r\n"
)


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """Return the status, the headers (lower case) and the body of one answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return int(head[0].split()[1]), headers, body


@pytest.mark.parametrize("expect", [b"", b"Expect: 100-continue\r\n"])
@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (HEAD + b"Content-Length: 1048577\r\n", 413, "body_too_large"),
        (HEAD.replace(b"/json", b"/xml") + b"Content-Length: 1000\r\n", 415, "content_type"),
        (HEAD.replace(KEY.encode(), b"wrong") + b"Content-Length: 1000\r\n", 401, "key_invalid"),
        (HEAD.replace(b"/42/", b"/a%20b/") + b"Content-Length: 1000\r\n", 422, "room_invalid"),
        (HEAD.replace(b"/v1/", b"/v9/") + b"Content-Length: 1000\r\n", 404, "not_found"),
    ],
)
async def test_what_the_headers_tell_is_refused_without_the_body(
    api: Api, head: bytes, status: int, code: str, expect: bytes
) -> None:
    """A request that its headers condemn is answered though not a byte of its body was sent, invitation or not."""
    reader, writer = await api.raw(head + expect + b"\r\n")
    try:
        answer = await read_answer(reader)
        if answer[0] == 100:  # only the router's own refusal invites the body first
            assert (expect, status) == (b"Expect: 100-continue\r\n", 404)
            answer = await read_answer(reader)
        assert answer[0] == status
        assert json.loads(answer[2])["code"] == code
        assert (answer[1].get("connection") == "close") == (bool(expect) or status == 413)
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_good_request_is_invited_to_send_its_body(api: Api) -> None:
    """With `Expect: 100-continue` the body is asked for once the headers are good, and the connection stays open."""
    reader, writer = await api.raw(HEAD + b"Content-Length: 10\r\nExpect: 100-continue\r\n\r\n")
    try:
        assert (await read_answer(reader))[0] == 100
        writer.write(b'{"data":1}')
        assert (await read_answer(reader))[0] == 200
        writer.write(HEAD + b'Content-Length: 10\r\n\r\n{"data":2}')
        assert (await read_answer(reader))[0] == 200
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_chunked_body_is_taken(api: Api) -> None:
    """A body in chunks, however small, is the same as a whole one."""
    body = b'{"data":"\xe5\x89\x8d"}'
    reader, writer = await api.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    try:
        for byte in body:
            writer.write(b"1\r\n%c\r\n" % byte)
            await writer.drain()
        writer.write(b"0\r\n\r\n")
        assert (await read_answer(reader))[0] == 200
    finally:
        writer.close()
        await writer.wait_closed()
    assert api.publishing.pushes[0].messages[0].data == b'"\xe5\x89\x8d"'


async def test_an_endless_chunked_body_is_cut_off(api: Api) -> None:
    """A chunked body is refused once more than 1 MiB of it came, without waiting for its end."""
    reader, writer = await api.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    try:
        for _ in range(17):
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
        status, headers, body = await read_answer(reader)
        problem = json.loads(body)
        assert (status, problem["code"], headers["connection"]) == (413, "body_too_large", "close")
        assert problem["detail"] == f"body: has more than {MIB} bytes, the limit is {MIB}"
    finally:
        writer.close()
        await writer.wait_closed()


async def test_exactly_the_limit_is_taken(api: Api) -> None:
    """A body of 1 MiB is taken, in one piece and in chunks."""
    body = b'{"data":1' + b" " * (MIB - 10) + b"}"
    for framing in (
        b"Content-Length: %d\r\n\r\n%s" % (MIB, body),
        b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (MIB, body),
    ):
        reader, writer = await api.raw(HEAD + framing)
        try:
            assert (await read_answer(reader))[0] == 200
        finally:
            writer.close()
            await writer.wait_closed()


async def test_broken_chunks_are_400(api: Api) -> None:
    """A body whose transfer coding breaks is one 400 and ends the connection."""
    reader, writer = await api.raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n12345\r\nnonsense\r\n")
    try:
        assert (await read_answer(reader))[0] == 400
        assert await reader.read() == b""
    finally:
        writer.close()
        await writer.wait_closed()
    assert not api.publishing.pushes


@pytest.mark.parametrize("more", [b"", b"nonsense\r\n"], ids=["nothing more", "broken chunks"])
async def test_a_body_that_does_not_come_is_given_up(more: bytes) -> None:
    """A body that is not complete in time is 400 and ends the connection."""
    async with serving(ApiOptions(body_timeout_s=0.05)) as api:
        head = HEAD + b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n"
        reader, writer = await api.raw(head + b"5\r\n12345\r\n")
        try:
            assert (await read_answer(reader))[0] == 100
            writer.write(more)
            status, headers, body = await read_answer(reader)
            assert (status, headers["connection"]) == (400, "close")
            assert json.loads(body)["detail"] == "body: was not complete after 0.05 s"
        finally:
            writer.close()
            await writer.wait_closed()
        assert not api.publishing.pushes


async def test_a_client_that_leaves_in_the_middle_harms_nobody(api: Api) -> None:
    """A connection lost in the middle of a body publishes nothing, and the API goes on."""
    _, writer = await api.raw(HEAD + b'Content-Length: 100\r\n\r\n{"data":')
    await writer.drain()
    writer.transport.abort()
    reader, writer = await api.raw(HEAD + b'Content-Length: 10\r\n\r\n{"data":1}')
    try:
        assert (await read_answer(reader))[0] == 200
    finally:
        writer.close()
        await writer.wait_closed()
    assert len(api.publishing.pushes) == 1


@pytest.mark.parametrize(
    "request_bytes",
    [
        HEAD + b"X-Large: " + b"x" * 65536 + b"\r\n\r\n",
        b"GET /" + b"x" * 65536 + b" HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01 this is not HTTP\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
    ids=["header of 64 KiB", "long path", "TLS", "negative length", "two framings"],
)
async def test_what_is_not_http_is_400_and_closed(api: Api, request_bytes: bytes) -> None:
    """Bytes that are no HTTP request, or an oversized head, get 400 without our insides, and the connection ends."""
    reader, writer = await api.raw(request_bytes)
    try:
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.0 400") or answer.startswith(b"HTTP/1.1 400")
        assert b"Traceback" not in answer
    finally:
        writer.close()
        await writer.wait_closed()

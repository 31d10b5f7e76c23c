"""Every kind of bad input gets its documented answer, and the other viewer of the room notices nothing."""

import asyncio
import json
import struct
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from protocol.codes import CloseCode, ErrorCode
from protocol.limits import COMMAND_MAX_BYTES, DATA_MAX_BYTES, ROOMS_PER_CONNECTION
from protocol.websocket.frames import OP_BINARY, OP_TEXT, encode_close, encode_frame
from protocol.websocket.receiver import Close
from tests.gateway.embedded import token_of
from tests.gateway.sockets.platform import KEY, ROOM, Platform, RawClient, Start, upgrade_request
from tests.gateway.viewer import MASK


def problem_of(response: bytes) -> tuple[int, dict[str, Any]]:
    """Return status and problem document of a whole HTTP response."""
    head, _, body = response.partition(b"\r\n\r\n")
    status_line, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    assert int(headers["content-length"]) == len(body)
    problem = json.loads(body)
    status = int(status_line.split(" ")[1])
    assert problem["status"] == status
    return status, problem


# -- commands that make no sense: ERROR, and the connection stays


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("{", ErrorCode.JSON_INVALID, "truncated"),
        ("[" * 30_000, ErrorCode.FIELD_INVALID, "Expected `object`"),
        ('{"type":"DANCE"}', ErrorCode.TYPE_UNKNOWN, "type: 'DANCE' is not one of PING, AUTH, JOIN, LEAVE, SEND"),
        ('{"type":"JOIN"}', ErrorCode.FIELD_INVALID, "data: Object missing required field `room`"),
        ('{"type":"JOIN","data":{"room":"4 2"}}', ErrorCode.ROOM_INVALID, "data.room: must be 1 to 128"),
        (f'{{"type":"JOIN","data":{{"room":"{"r" * 129}"}}}}', ErrorCode.ROOM_INVALID, "1 to 128"),
        ('{"type":"LEAVE","data":{"room":"43"}}', ErrorCode.ROOM_NOT_JOINED, "room: this connection has not joined 43"),
        (
            '{"type":"SEND","data":{"room":"43","data":{"text":"x"}}}',
            ErrorCode.ROOM_NOT_JOINED,
            "room: this connection has not joined 43",
        ),
        (
            f'{{"type":"SEND","data":{{"room":"42","data":"{"x" * DATA_MAX_BYTES}"}}}}',
            ErrorCode.DATA_TOO_LARGE,
            f"data.data: {DATA_MAX_BYTES + 2} bytes is over the limit of {DATA_MAX_BYTES}",
        ),
        ('{"type":"AUTH","data":{"token":"a.b.c"}}', ErrorCode.TOKEN_INVALID, "token: "),
    ],
)
async def test_a_wrong_command(platform: Platform, text: str, code: ErrorCode, message: str) -> None:
    """A wrong command is answered with ERROR; the connection stays and works."""
    viewer = await platform.connect()
    await viewer.client.send(text)
    kind, data = await viewer.hear()
    assert (kind, data["code"]) == ("ERROR", code)
    assert message in data["message"]
    await platform.undisturbed()
    assert await viewer.ask("PING") == ("PONG", {})


async def test_the_65th_room(platform: Platform) -> None:
    """One room more than the limit is refused by name of the limit; leaving one makes place."""
    viewer = await platform.connect()
    for number in range(ROOMS_PER_CONNECTION):
        await viewer.join(f"room-{number}")
    kind, data = await viewer.ask("JOIN", room=ROOM, ref=9)
    assert (kind, data["code"], data["ref"]) == ("ERROR", ErrorCode.TOO_MANY_ROOMS, 9)
    assert data["message"] == "room: this connection is in 64 rooms, which is the limit; leave one first"
    await platform.undisturbed()
    assert (await viewer.join("room-0"))["room"] == "room-0", "a room it is in already"
    await viewer.ask("LEAVE", room="room-0")
    await viewer.join(ROOM)


async def test_the_65th_room_while_positions_are_read(platform: Platform) -> None:
    """Joins that still wait for their answer count, too."""
    platform.positions.held_back = True
    viewer = await platform.connect()
    for number in range(ROOMS_PER_CONNECTION + 1):
        await viewer.say("JOIN", room=f"room-{number}")
    kind, data = await viewer.hear()
    assert (kind, data["code"]) == ("ERROR", ErrorCode.TOO_MANY_ROOMS)
    platform.positions.answer()
    assert {(await viewer.hear())[0] for _ in range(ROOMS_PER_CONNECTION)} == {"JOINED"}
    await platform.undisturbed()


async def test_sending_too_fast(platform: Platform) -> None:
    """The third danmaku within a second is refused by name of the limit."""
    viewer = await platform.connect()
    await viewer.join(ROOM)
    answers = [await viewer.ask("SEND", room=ROOM, ref=ref, data={"text": "x"}) for ref in range(3)]
    assert [(data["code"], data["ref"]) for _, data in answers] == [
        (ErrorCode.UNAVAILABLE, 0),
        (ErrorCode.UNAVAILABLE, 1),
        (ErrorCode.RATE_LIMITED, 2),
    ]
    assert answers[2][1]["message"] == "SEND: at most 2 a second on one connection"
    await platform.undisturbed()


async def test_a_client_that_loops_on_a_mistake(platform: Platform) -> None:
    """After a hundred commands that make no sense the connection is closed, and told not to come back."""
    raw = await platform.connect_raw()
    await raw.send(encode_frame(OP_TEXT, b"{", mask=MASK) * 150)
    for _ in range(100):
        assert (await raw.hear())[0] == "ERROR"
    close = await raw.ends()
    assert (close.code, close.reason) == (CloseCode.TOO_MANY_ERRORS, "100 commands made no sense")
    await platform.undisturbed()


async def test_anonymous_viewers_where_they_are_not_allowed(start: Start) -> None:
    """Without a token nobody joins when the setting says so; with one everybody may."""
    platform = await start(anonymous=False)
    viewer = await platform.connect()
    kind, data = await viewer.ask("JOIN", room=ROOM)
    assert (kind, data["code"]) == ("ERROR", ErrorCode.UNAUTHENTICATED)
    assert data["message"] == "JOIN needs an authenticated connection: send AUTH first"
    await viewer.ask("AUTH", token=token_of("7"))
    await viewer.join(ROOM)


# -- frames that break the protocol: Close with a code


BROKEN_FRAMES = {
    "oversized frame": (
        b"\x81\xfe" + struct.pack(">H", COMMAND_MAX_BYTES + 1) + MASK,
        CloseCode.MESSAGE_TOO_BIG,
        f"a message of {COMMAND_MAX_BYTES + 1} bytes is over the limit of {COMMAND_MAX_BYTES}",
    ),
    "endless frame": (
        b"\x81\xff" + struct.pack(">Q", 2**62) + MASK,
        CloseCode.MESSAGE_TOO_BIG,
        f"over the limit of {COMMAND_MAX_BYTES}",
    ),
    "oversized message of small frames": (
        encode_frame(OP_TEXT, b"x" * 30_000, mask=MASK, fin=False) + encode_frame(0, b"x" * 3_000, mask=MASK),
        CloseCode.MESSAGE_TOO_BIG,
        f"a message of 33000 bytes is over the limit of {COMMAND_MAX_BYTES}",
    ),
    "invalid UTF-8": (encode_frame(OP_TEXT, b'{"type":"\xff"}', mask=MASK), CloseCode.INVALID_PAYLOAD, "not UTF-8"),
    "UTF-8 cut short": (encode_frame(OP_TEXT, "前".encode()[:2], mask=MASK), CloseCode.INVALID_PAYLOAD, "not UTF-8"),
    "unmasked": (encode_frame(OP_TEXT, b'{"type":"PING"}'), CloseCode.PROTOCOL_ERROR, "mask"),
    "binary": (encode_frame(OP_BINARY, b"\0", mask=MASK), CloseCode.UNSUPPORTED_DATA, "the json dialect is text only"),
    "reserved bit": (b"\xc1\x80" + MASK, CloseCode.PROTOCOL_ERROR, "RSV1"),
    "unknown opcode": (b"\x83\x80" + MASK, CloseCode.PROTOCOL_ERROR, "opcode"),
    "long ping": (b"\x89\xfe\x00\x7e" + MASK, CloseCode.PROTOCOL_ERROR, "control"),
    "close code of nobody": (encode_frame(8, b"\x03\xed", mask=MASK), CloseCode.PROTOCOL_ERROR, "1005"),
}


@pytest.mark.parametrize("name", BROKEN_FRAMES)
async def test_a_broken_frame(platform: Platform, name: str) -> None:
    """A frame against RFC 6455 or a limit ends the connection with the code and a reason that names the limit."""
    frame, code, reason = BROKEN_FRAMES[name]
    raw = await platform.connect_raw()
    await raw.join()
    await raw.send(frame)
    close = await raw.ends()
    assert close.code == code
    assert reason in close.reason
    assert platform.gateway.counters.connections_closed == {code: 1}
    await platform.undisturbed()


async def test_commands_before_a_broken_frame_count(platform: Platform) -> None:
    """What came whole before the fault is carried out and answered, what comes after is not."""
    raw = await platform.connect_raw()
    ping = encode_frame(OP_TEXT, b'{"type":"PING"}', mask=MASK)
    await raw.send(ping + b"\x83\x80" + MASK + ping)
    assert await raw.hear() == ("PONG", {})
    assert (await raw.ends()).code == CloseCode.PROTOCOL_ERROR


async def test_a_flood_behind_an_oversized_frame(platform: Platform) -> None:
    """What a client sends after it was told to close is dropped, not kept, and nobody else notices."""
    raw = await platform.connect_raw()
    await raw.send(b"\x81\xff" + struct.pack(">Q", 1 << 40) + MASK)
    close = await raw.event()
    assert isinstance(close, Close)
    assert close.code == CloseCode.MESSAGE_TOO_BIG
    for _ in range(16):
        await raw.send(b"\x00" * 65_536)
        await platform.undisturbed()
    assert platform.gateway.counters.connections_closed == {CloseCode.MESSAGE_TOO_BIG: 1}


# -- tokens


@pytest.mark.parametrize("token", ["a.b.c", "", "%E5%89%8D"])
async def test_a_wrong_token_on_the_url(platform: Platform, token: str) -> None:
    """The client hears why, and then that it need not come back with the same token."""
    raw = await platform.connect_raw(f"/ws?token={token}")
    kind, data = await raw.hear()
    assert (kind, data["code"]) == ("ERROR", ErrorCode.TOKEN_INVALID)
    close = await raw.ends()
    assert (close.code, close.reason) == (CloseCode.TOKEN_INVALID, data["message"])
    await platform.undisturbed()


async def test_a_wrong_token_by_command(platform: Platform) -> None:
    """The same token by AUTH is an ERROR with the command's ref; the connection stays as it was."""
    viewer = await platform.connect()
    kind, data = await viewer.ask("AUTH", token="a.b.c", ref="r")
    assert (kind, data["code"], data["ref"]) == ("ERROR", ErrorCode.TOKEN_INVALID, "r")
    await viewer.join(ROOM)
    await platform.undisturbed()
    assert (await viewer.hear())[0] == "PUSH"


# -- requests that are no WebSocket


async def test_a_ninth_header_line_of_64_kib(platform: Platform) -> None:
    """A header line over the limit is refused before it is read whole."""
    raw = await platform.connect_raw(upgrade=False)
    lines = "".join(f"X-{number}: x\r\n" for number in range(3))
    await raw.send(upgrade_request(headers=f"{lines}X-Ninth: {'x' * 65_536}\r\n"))
    status, problem = problem_of(await raw.read_to_end())
    assert (status, problem["detail"]) == (431, "a header line is longer than 8192 bytes")
    await platform.undisturbed()


async def test_a_refused_client_that_goes_on_sending_reads_why(platform: Platform) -> None:
    """The answer is not lost to a reset when the client had more to say."""
    raw = await platform.connect_raw(upgrade=False)
    await raw.send(upgrade_request(headers=f"X-Large: {'x' * 10_000}\r\n"))
    for _ in range(20):
        await raw.send(b"x" * 16_384)
        await platform.undisturbed()
    status, _ = problem_of(await raw.read_to_end())
    assert status == 431


@pytest.mark.parametrize("sent", [b"", b"GET /ws HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "half a head"])
async def test_a_slow_handshake(start: Start, sent: bytes) -> None:
    """A head that is not whole in time is refused with 408, which names the limit."""
    platform = await start(handshake_seconds=0.5)
    await platform.observe()
    raw = await platform.connect_raw(upgrade=False)
    started = asyncio.get_running_loop().time()
    if sent:
        await raw.send(sent)
    status, problem = problem_of(await raw.read_to_end())
    assert (status, problem["detail"]) == (408, "the request head must come within 0.5 s")
    assert asyncio.get_running_loop().time() - started > 0.4
    assert platform.gateway.counters.handshakes_refused == {408: 1}
    await platform.undisturbed()


@pytest.mark.parametrize(
    ("request_bytes", "status", "detail"),
    [
        (b"nonsense\r\n\r\n", 400, "request line"),
        (b"GET /ws HTTP/2.0\r\nHost: x\r\n\r\n", 505, "HTTP/1.1"),
        (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414, "8192"),
        (upgrade_request("/nowhere"), 404, "no WebSocket at '/nowhere'; they are at /ws, /connect"),
        (upgrade_request().replace(b"Version: 13", b"Version: 8"), 426, "13"),
        (upgrade_request().replace(KEY.encode(), b"short"), 400, "Sec-WebSocket-Key"),
        (upgrade_request().replace(b"GET", b"POST"), 405, "GET"),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
async def test_a_bad_request(platform: Platform, request_bytes: bytes, status: int, detail: str) -> None:
    """What is no proper request for a WebSocket gets an HTTP status and a problem that says what is wrong."""
    raw = await platform.connect_raw(upgrade=False)
    await raw.send(request_bytes)
    got, problem = problem_of(await raw.read_to_end())
    assert got == status
    assert detail in problem["detail"]
    await platform.undisturbed()


async def test_a_refused_client_that_stays_is_cut(platform: Platform) -> None:
    """A client that does not read its refusal and does not go is cut off after a while."""
    raw = await platform.connect_raw(upgrade=False)
    await raw.send(b"nonsense\r\n\r\n")
    await platform.until(lambda: platform.gateway.counters.handshakes_refused == {400: 1})
    status, _ = problem_of(await raw.read_to_end())
    assert status == 400
    await raw.send(b"more of it\r\n\r\n")
    await platform.undisturbed()
    assert platform.gateway.counters.handshakes_refused == {400: 1}
    platform.listener.expire(asyncio.get_running_loop().time() + 60)
    with pytest.raises(ConnectionError):
        await send_until_refused(raw)
    await platform.undisturbed()


async def send_until_refused(raw: RawClient) -> None:
    """Send until the other end is no more."""
    while True:
        await raw.send(b"x")
        await asyncio.sleep(0)


async def test_an_unknown_path_by_the_library(platform: Platform) -> None:
    """An independent client sees the same status."""
    with pytest.raises(InvalidStatus) as caught:
        await platform.connect("/nowhere")
    assert caught.value.response.status_code == 404
    await platform.undisturbed()


async def test_a_close_in_the_middle_of_a_message(platform: Platform) -> None:
    """A client that closes before its message is whole is answered like any other."""
    raw = await platform.connect_raw()
    await raw.send(encode_frame(OP_TEXT, b"{", mask=MASK, fin=False) + encode_close(1000, mask=MASK))
    assert (await raw.ends()).code == 1000
    await platform.undisturbed()

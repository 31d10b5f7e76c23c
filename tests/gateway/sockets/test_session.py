"""What a well-behaved client sees: handshake, commands, pages, and the end, by an independent client."""

import asyncio
import base64
import hashlib

import pytest
from aiohttp import ClientSession, TCPConnector
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from gateway.sweep import SWEEP_S
from protocol.codes import CloseCode
from protocol.envelope import Submit, SubmitResult
from protocol.websocket.frames import OP_CONTINUATION, OP_PING, OP_TEXT, encode_frame
from protocol.websocket.receiver import Ping, Pong
from tests.gateway.embedded import EPOCH, broadcast, token_of, user_push
from tests.gateway.sockets.platform import KEY, ROOM, Platform, Start, upgrade_request
from tests.gateway.viewer import MASK


class EchoLogic:
    """Implements `gateway.upstream.UpLink`: takes every message, answers when told to."""

    def __init__(self, instance: int = 1) -> None:
        self.instance = instance
        self.sent: asyncio.Queue[Submit] = asyncio.Queue()

    def send_submit(self, submit: Submit) -> None:
        self.sent.put_nowait(submit)


# -- handshake


async def test_the_handshake(platform: Platform) -> None:
    """The answer proves that the key was read; a subprotocol that was not offered is not chosen, nor an extension."""
    raw = await platform.connect_raw(upgrade=False)
    head = await raw.shake_hands(headers="Sec-WebSocket-Extensions: permessage-deflate\r\n")
    digest = hashlib.sha1(f"{KEY}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
    lines = head.split("\r\n")
    assert lines[0] == "HTTP/1.1 101 Switching Protocols"
    assert f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode()}" in lines
    assert not [line for line in lines if line.startswith(("Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"))]


@pytest.mark.parametrize("path", ["/ws", "/connect", "/w%73?x=1"])
async def test_paths_of_the_dialect(platform: Platform, path: str) -> None:
    """Both paths speak the JSON dialect."""
    viewer = await platform.connect(path)
    assert await viewer.ask("PING") == ("PONG", {})


async def test_subprotocol(platform: Platform) -> None:
    """A client that asks for the dialect by subprotocol is told that it has it."""
    offered = [Subprotocol("other"), Subprotocol("danmaku.json")]
    viewer = await platform.connect(subprotocols=offered)
    assert viewer.client.subprotocol == "danmaku.json"


async def test_commands_in_the_same_packet_as_the_handshake(platform: Platform) -> None:
    """A client that does not wait for the answer loses nothing."""
    raw = await platform.connect_raw(upgrade=False)
    ping = encode_frame(OP_TEXT, b'{"type":"PING"}', mask=MASK)
    await raw.send(upgrade_request() + ping + ping[:3])
    received = b""
    while not received.endswith(encode_frame(OP_TEXT, b'{"type":"PONG","data":{}}')):
        received += await raw.receive()
    await raw.send(ping[3:])
    assert await raw.receive() == encode_frame(OP_TEXT, b'{"type":"PONG","data":{}}')


async def test_a_handshake_byte_by_byte(platform: Platform) -> None:
    """However the request is cut, it is one request."""
    raw = await platform.connect_raw(upgrade=False)
    request = upgrade_request()
    for position in range(len(request)):
        await raw.send(request[position : position + 1])
        await asyncio.sleep(0)
    assert (await raw.receive()).startswith(b"HTTP/1.1 101 ")


# -- commands


async def test_every_command_is_answered(platform: Platform) -> None:
    """Each command has its answer, with its ref."""
    viewer = await platform.connect()
    assert await viewer.ask("PING") == ("PONG", {})
    kind, data = await viewer.ask("AUTH", token=token_of("7", name="安娜"), ref="a")
    assert (kind, data) == ("ACK", {"ref": "a", "user": {"id": "7", "name": "安娜", "role": "viewer"}})
    kind, data = await viewer.ask("JOIN", room=ROOM, ref=1)
    assert (kind, data) == (
        "JOINED",
        {"room": ROOM, "seq": 0, "epoch": EPOCH, "online": 2, "recovered": False, "ref": 1},
    )
    assert await viewer.ask("LEAVE", room=ROOM, ref=2) == ("LEFT", {"room": ROOM, "ref": 2})
    await platform.undisturbed()
    assert await viewer.ask("PING") == ("PONG", {}), "nothing of the room came after leaving it"


async def test_resuming_is_answered(platform: Platform) -> None:
    """A JOIN with `since` is answered honestly: what was missed is not recovered here, and the position says so."""
    platform.push(ROOM, 5)
    viewer = await platform.connect()
    kind, data = await viewer.ask("JOIN", room=ROOM, since=3, epoch=EPOCH)
    assert (kind, data["seq"], data["recovered"]) == ("JOINED", 5, False)


async def test_a_token_on_the_url(platform: Platform) -> None:
    """A good token on the URL makes the connection that user's, without any command."""
    viewer = await platform.connect(f"/ws?token={token_of('7')}")
    await viewer.ask("PING")
    platform.gateway.hub.push_to_user(user_push("7", 1, b'"psst"'))
    assert await viewer.hear() == ("PUSH", {"to": "user", "items": ["psst"]})
    await platform.undisturbed()


async def test_broadcasts_reach_who_has_just_connected(platform: Platform) -> None:
    """No command is needed to hear what goes to everybody."""
    viewer = await platform.connect()
    platform.gateway.hub.push_to_all(broadcast(1, b'"hi"'))
    assert await viewer.hear() == ("PUSH", {"to": "all", "items": ["hi"]})


async def test_send_goes_up_and_is_answered(platform: Platform) -> None:
    """A viewer's danmaku goes up with its identity; the answer is the sequence, or logic's error, with the ref."""
    logic = EchoLogic()
    platform.gateway.upstream.add_link(logic)
    viewer = await platform.connect(f"/ws?token={token_of('7', role='member', level=3)}")
    await viewer.join(ROOM)
    await viewer.say("SEND", room=ROOM, ref="a", data={"text": "前排!"})
    await viewer.say("SEND", room=ROOM, ref="b", data={"text": "no"})
    first, second = await logic.sent.get(), await logic.sent.get()
    assert (first.room, first.data) == (ROOM, b'{"text": "\\u524d\\u6392!"}')
    assert first.identity == b'{"id":"7","name":"","role":"member","level":3,"authenticated":true}'
    platform.gateway.upstream.resolve(SubmitResult(second.ref, 0, "rejected", "not here"))
    platform.gateway.upstream.resolve(SubmitResult(first.ref, 1007))
    assert await viewer.hear() == ("ERROR", {"code": "rejected", "message": "not here", "ref": "b"})
    assert await viewer.hear() == ("ACK", {"ref": "a", "seq": 1007})


async def test_a_guest_stays_the_same_guest(platform: Platform) -> None:
    """All that one anonymous connection sends comes from one guest, and another connection is another."""
    logic = EchoLogic()
    platform.gateway.upstream.add_link(logic)
    identities: list[bytes] = []
    for _ in range(2):
        viewer = await platform.connect()
        await viewer.join(ROOM)
        for _ in range(2):
            await viewer.say("SEND", room=ROOM, data={"text": "x"})
            identities.append((await logic.sent.get()).identity)
    assert identities[0] == identities[1] != identities[2] == identities[3]
    assert b'"authenticated":false' in identities[0]


async def test_an_answer_for_somebody_who_left(platform: Platform) -> None:
    """When a viewer is gone before logic answers, whoever has its descriptor now does not get the answer."""
    logic = EchoLogic()
    platform.gateway.upstream.add_link(logic)
    viewer = await platform.connect()
    await viewer.join(ROOM)
    await viewer.say("SEND", room=ROOM, ref="late", data={"text": "x"})
    submit = await logic.sent.get()
    await viewer.client.close()
    await platform.until(lambda: platform.gateway.hub.connections == 1)
    successor = await platform.connect()
    platform.gateway.upstream.resolve(SubmitResult(submit.ref, 1007))
    assert await successor.ask("PING") == ("PONG", {})
    await platform.undisturbed()


async def test_online_is_told(platform: Platform) -> None:
    """The join tells how many there are."""
    viewers = [await platform.connect() for _ in range(3)]
    assert [(await viewer.join(ROOM))["online"] for viewer in viewers] == [2, 3, 4]


# -- frames


async def test_fragments_with_a_ping_between(platform: Platform) -> None:
    """A message in pieces is one message; a ping between them is answered first, with its payload."""
    raw = await platform.connect_raw()
    await raw.send(encode_frame(OP_TEXT, b'{"type":', mask=MASK, fin=False))
    await raw.send(encode_frame(OP_PING, b"are you there", mask=MASK))
    assert await raw.event() == Pong(b"are you there")
    await raw.send(encode_frame(OP_CONTINUATION, b'"PING"', mask=MASK, fin=False))
    await raw.send(encode_frame(OP_CONTINUATION, b"}", mask=MASK))
    assert await raw.hear() == ("PONG", {})


async def test_the_library_pings(platform: Platform) -> None:
    """The independent client's ping is answered."""
    viewer = await platform.connect()
    async with asyncio.timeout(10):
        await (await viewer.client.ping(b"x"))


@pytest.mark.parametrize(("code", "reason"), [(1000, "bye"), (1001, ""), (4999, "mine")])
async def test_a_client_s_close(platform: Platform, code: int, reason: str) -> None:
    """A client's close is answered with its code, and the connection is gone from its rooms."""
    viewer = await platform.connect()
    await viewer.join(ROOM)
    await viewer.client.close(code, reason)
    assert (await viewer.ends())[0] == code
    await platform.until(lambda: platform.gateway.hub.rooms[ROOM].viewers == 1)
    assert platform.gateway.counters.connections_closed == {code: 1}
    await platform.undisturbed()


async def test_a_client_that_vanishes(platform: Platform) -> None:
    """A reset or a plain end of the stream takes the connection out of everything."""
    reset, ended = await platform.connect_raw(), await platform.connect_raw()
    for raw in (reset, ended):
        await raw.join()
    reset.abort()
    await ended.close()
    await platform.until(lambda: platform.gateway.hub.connections == 1)
    await platform.undisturbed()
    assert platform.gateway.counters.connections_closed == {1006: 2}


# -- time


async def test_an_idle_connection(start: Start) -> None:
    """A client that says nothing is pinged, and then closed with 4000; any frame, a pong included, counts as life."""
    platform = await start(ping_seconds=0.5, idle_seconds=0.6 + SWEEP_S)
    silent = await platform.connect_raw()
    alive = await platform.connect()
    assert await silent.event() == Ping(b"")
    close = await silent.ends()
    assert (close.code, close.reason) == (CloseCode.IDLE, "nothing was heard for 2.6 s")
    assert await alive.ask("PING") == ("PONG", {}), "its library answers pings"


async def test_drain(start: Start) -> None:
    """A gateway that leaves tells everybody when to come back, closes with 4003, and takes nobody new."""
    platform = await start(drain_seconds=0.5)
    viewers = [await platform.connect() for _ in range(20)]
    for viewer in viewers:
        await viewer.join(ROOM)
    drained = asyncio.create_task(platform.gateway.drain())
    delays: list[int] = []
    for viewer in viewers:
        kind, data = await viewer.hear()
        assert (kind, data["reason"]) == ("GOAWAY", "draining")
        delays.append(data["reconnect_after_ms"])
        with pytest.raises(ConnectionClosed):
            await viewer.hear()
        assert await viewer.ends() == (CloseCode.DRAINING, "the gateway leaves; another one is there")
    assert len(set(delays)) > 5
    assert all(0 <= delay < 1000 for delay in delays)
    with pytest.raises(InvalidStatus) as caught:
        await platform.connect()
    assert caught.value.response.status_code == 503
    assert caught.value.response.headers["Retry-After"] == "1"
    async with asyncio.timeout(1):
        await drained
    assert (platform.gateway.hub.connections, platform.gateway.hub.rooms) == (0, {})


async def test_drain_without_viewers(start: Start) -> None:
    """Nobody there, nothing to wait for."""
    platform = await start(drain_seconds=14)
    async with asyncio.timeout(2):
        await platform.gateway.drain()


async def test_drain_ends_with_the_last_viewer(start: Start) -> None:
    """Once everybody has gone the rest of the window is not waited for."""
    platform = await start(drain_seconds=14)
    viewer = await platform.connect()
    async with asyncio.timeout(5):
        drained = asyncio.create_task(platform.gateway.drain())
        assert (await viewer.hear())[0] == "GOAWAY"
        assert (await viewer.ends())[0] == CloseCode.DRAINING
        await drained


async def test_drain_is_bounded(start: Start) -> None:
    """A client that does not answer does not hold the gateway up for longer than the window."""
    platform = await start(drain_seconds=0.5)
    await platform.connect_raw()
    async with asyncio.timeout(2):
        await platform.gateway.drain()
    assert platform.gateway.hub.connections == 1
    platform.gateway.cut()
    await platform.until(lambda: not platform.gateway.hub.connections)


# -- pages


async def test_pages_on_the_same_port(platform: Platform) -> None:
    """A request that asks for no upgrade gets a page; several travel on one connection."""
    url = f"http://127.0.0.1:{platform.listener.port}"
    async with ClientSession(connector=TCPConnector(limit=1)) as session:
        for path, status in (("/", 200), ("/client.js", 200), ("/nowhere", 404), ("/ws", 426), ("/", 200)):
            async with session.get(url + path) as response:
                assert response.status == status
                assert await response.read()
    assert platform.gateway.counters.connections_opened == 1
    await platform.undisturbed()


async def test_requests_in_one_packet(platform: Platform) -> None:
    """HTTP requests behind each other on one connection are all answered, the last one closes it."""
    raw = await platform.connect_raw(upgrade=False)
    await raw.send(b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nGET /ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    received = await raw.read_to_end()
    assert received.count(b"HTTP/1.1 ") == 2
    assert received.index(b"HTTP/1.1 404") < received.index(b"HTTP/1.1 426")

"""The server against peers that are not ours: foreign, broken, hostile, frozen."""

from __future__ import annotations

import asyncio
import shutil
import socket

import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from runtime.http2 import Http2Limits, Http2Server, Refusal
from runtime.http2.limits import CONNECTION_WINDOW_BYTES, FRAME_BYTES, STREAM_WINDOW_BYTES
from tests.runtime.http2_peers import (
    PATIENCE_S,
    PREFACE,
    REQUEST,
    Acceptor,
    RawPeer,
    Recorder,
    opened,
    raw_peer,
    raw_server,
    request,
    running,
    settings,
)

GREETING = PREFACE + settings()


async def still_serves(server: Http2Server, accept: Acceptor) -> None:
    """Check that the server is well: another client opens a stream and gets a byte across."""
    before = len(accept.streams)
    stream = await opened(server.port, Recorder())
    recorder = accept.recorders[before]
    stream.write(b"x")
    await recorder.wait(lambda: bytes(recorder.data) == b"x")
    stream.reset()


def ping(flags: tuple[str, ...] = ()) -> bytes:
    """Return a PING frame."""
    return PingFrame(0, opaque_data=b"01234567", flags=flags).serialize()


BROKEN = {
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "random bytes": bytes(range(256)),
    "data before headers": GREETING + DataFrame(1, data=b"x").serialize(),
    "an even stream": GREETING + request(2),
    "a stream used twice": GREETING + request(3) + request(1),
    "a ping of three bytes": GREETING + b"\x00\x00\x03\x06\x00\x00\x00\x00\x00abc",
    "a window update of zero": GREETING + b"\x00\x00\x04\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    "a window too large": GREETING + WindowUpdateFrame(0, window_increment=2**31 - 1).serialize() * 2,
    "a frame too large": GREETING + request() + DataFrame(1, data=b"x" * (FRAME_BYTES + 1)).serialize(),
    "a broken header block": GREETING + b"\x00\x00\x04\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff",
    "a push promise": GREETING + b"\x00\x00\x04\x05\x04\x00\x00\x00\x01\x00\x00\x00\x02",
    "a continuation of nothing": GREETING + ContinuationFrame(1, data=b"").serialize(),
    "a request without a path": GREETING + request(headers=REQUEST[:3]),
    "upper-case names": GREETING + request(headers=[*REQUEST, ("X-Upper", "1")]),
    "headers too large": GREETING + request(headers=[*REQUEST, *((f"x-{number}", "y" * 500) for number in range(60))]),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_http2_is_closed_with_goaway(name: str) -> None:
    """A peer that breaks the protocol gets GOAWAY with an error code and is closed; others notice nothing."""
    accept = Acceptor()
    async with running(accept) as server:
        async with raw_peer(server.port, BROKEN[name]) as peer:
            assert await peer.goaway_code() != ErrorCodes.NO_ERROR
        await still_serves(server, accept)


async def test_endless_headers_are_cut_off() -> None:
    """A header block that never ends (the continuation flood) is closed after a bounded number of frames."""
    accept = Acceptor()
    async with running(accept) as server, raw_peer(server.port, GREETING) as peer:
        peer.send(HeadersFrame(1, data=b"\x00"), *[ContinuationFrame(1, data=b"\x00" * 100)] * 200)
        assert await peer.goaway_code() != ErrorCodes.NO_ERROR
        assert accept.streams == []


async def test_rapid_resets_are_cut_off() -> None:
    """A peer that opens and resets streams without end is told to calm down."""
    accept = Acceptor()
    async with running(accept) as server:
        async with raw_peer(server.port, GREETING) as peer:
            for number in range(200):
                peer.send(request(2 * number + 1), RstStreamFrame(2 * number + 1, error_code=8))
            assert await peer.goaway_code() == ErrorCodes.ENHANCE_YOUR_CALM
        assert len(accept.streams) < 110
        await still_serves(server, accept)


async def test_questions_without_reading_are_cut_off() -> None:
    """A peer that sends PING after PING and reads no answer costs a bounded buffer, then its connection."""
    accept = Acceptor()
    async with running(accept) as server:
        with socket.create_connection(("127.0.0.1", server.port)) as attacker:
            attacker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            attacker.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_sendall(attacker, GREETING)
            with pytest.raises(ConnectionError):
                await asyncio.wait_for(ask_for_ever(attacker), 60)
        await still_serves(server, accept)


async def ask_for_ever(attacker: socket.socket) -> None:
    """Send PING after PING."""
    while True:
        await asyncio.get_running_loop().sock_sendall(attacker, ping() * 1000)


async def test_too_many_streams_are_refused() -> None:
    """A peer may have as many streams at once as SETTINGS say, and is told so."""
    accept = Acceptor()
    async with running(accept, Http2Limits(max_streams=2)) as server, raw_peer(server.port, GREETING) as peer:
        frame = await peer.until(SettingsFrame)
        assert isinstance(frame, SettingsFrame)
        assert frame.settings[SettingsFrame.MAX_CONCURRENT_STREAMS] == 2
        peer.send(settings(), request(1), request(3))
        await accept.wait(2)
        peer.send(request(5))
        assert await peer.goaway_code() == ErrorCodes.PROTOCOL_ERROR
        assert len(accept.streams) == 2


async def test_too_many_connections_are_refused() -> None:
    """One connection too many gets GOAWAY at once; when another has left there is room again."""
    accept = Acceptor()
    async with running(accept, Http2Limits(max_connections=1)) as server:
        first = Recorder()
        stream = await opened(server.port, first)
        _, recorder = await accept.first()
        async with raw_peer(server.port, GREETING) as peer:
            assert await peer.goaway_code() == ErrorCodes.ENHANCE_YOUR_CALM
        stream.reset()
        await recorder.wait_lost()
        await still_serves(server, accept)


async def test_a_slow_greeting_is_cut_off() -> None:
    """A connection without a preface in time is closed, though it trickles bytes."""
    accept = Acceptor()
    async with running(accept, Http2Limits(handshake_s=0.2)) as server:
        async with raw_peer(server.port, PREFACE[:5]) as peer:
            assert isinstance((await peer.frames())[-1], (SettingsFrame, WindowUpdateFrame, GoAwayFrame))
        await still_serves(server, accept)


async def test_a_frozen_client_is_noticed() -> None:
    """A client that answers nothing any more loses its stream by keepalive timeout."""
    accept = Acceptor()
    async with running(accept, Http2Limits(keepalive_s=0.2)) as server, raw_peer(server.port, GREETING, request()):
        _, recorder = await accept.first()
        assert await recorder.wait_lost() == "keepalive timeout"


async def test_a_frozen_server_is_noticed() -> None:
    """A server that answers 200 and then nothing any more loses the client's stream by keepalive timeout."""

    # HPACK: ":status: 200" is entry 8 of the static table (RFC 7541, appendix A).
    answer = settings() + HeadersFrame(1, data=b"\x88", flags=["END_HEADERS"]).serialize()
    recorder = Recorder()
    async with raw_server(answer) as port:
        await opened(port, recorder, keepalive_s=0.2)
        assert await recorder.wait_lost() == "keepalive timeout"


async def test_a_frozen_reader_with_full_socket_is_noticed() -> None:
    """A client that froze while we had much to send is noticed too: nothing comes from it."""
    accept = Acceptor()
    async with running(accept, Http2Limits(keepalive_s=0.3)) as server:
        greeting = PREFACE + settings(INITIAL_WINDOW_SIZE=2**31 - 1)
        opener = WindowUpdateFrame(0, window_increment=2**30).serialize()
        with socket.create_connection(("127.0.0.1", server.port)) as frozen:
            frozen.sendall(greeting + opener + request())
            stream, recorder = await accept.first()
            stream.write(b"x" * 32_000_000)
            assert await recorder.wait_lost() == "keepalive timeout"
            assert stream.buffered_bytes == 0


async def test_window_exhaustion_waits_for_credit() -> None:
    """With the peer's window used up nothing more is sent; each WINDOW_UPDATE releases as much as it says."""
    accept = Acceptor()
    greeting = PREFACE + settings(INITIAL_WINDOW_SIZE=1000)
    async with running(accept) as server, raw_peer(server.port, greeting, request()) as peer:
        stream, _ = await accept.first()
        stream.write(b"x" * 2500)
        assert await received(peer, 1000) == 1000
        assert stream.buffered_bytes == 1500
        peer.send(WindowUpdateFrame(1, window_increment=700))
        assert await received(peer, 700) == 700
        # A larger window for all streams counts for this one too (RFC 9113, section 6.9.2).
        peer.send(settings(INITIAL_WINDOW_SIZE=1100))
        assert await received(peer, 100) == 100
        peer.send(WindowUpdateFrame(1, window_increment=10_000))
        assert await received(peer, 700) == 700
        assert stream.buffered_bytes == 0


async def received(peer: RawPeer, expected: int) -> int:
    """Count DATA until the expected amount is there, then until an answered PING proves that no more comes."""
    count = 0
    while count < expected:
        frame = await peer.until(DataFrame)
        assert isinstance(frame, DataFrame)
        count += len(frame.data)
    peer.send(ping())
    while not isinstance(later := await peer.frame(), PingFrame):
        assert later is not None, "the connection ended"
        count += len(later.data) if isinstance(later, DataFrame) else 0
    return count


async def test_frames_keep_to_the_peers_size() -> None:
    """No DATA frame is longer than the peer's SETTINGS_MAX_FRAME_SIZE."""
    accept = Acceptor()
    greeting = PREFACE + settings(MAX_FRAME_SIZE=16_384, INITIAL_WINDOW_SIZE=1_000_000)
    async with running(accept) as server, raw_peer(server.port, greeting, request()) as peer:
        stream, _ = await accept.first()
        stream.write(b"x" * 60_000)
        lengths: list[int] = []
        while sum(lengths) < 60_000:
            frame = await peer.until(DataFrame)
            assert isinstance(frame, DataFrame)
            lengths.append(len(frame.data))
        assert max(lengths) == 16_384


async def test_windows_are_announced_and_credit_is_lumped() -> None:
    """The windows are as large as we say, and ten megabytes in small frames cost few WINDOW_UPDATE frames."""
    accept = Acceptor()
    async with running(accept) as server, raw_peer(server.port, GREETING, request()) as peer:
        frame = await peer.until(SettingsFrame)
        assert isinstance(frame, SettingsFrame)
        assert frame.settings[SettingsFrame.INITIAL_WINDOW_SIZE] == STREAM_WINDOW_BYTES
        first = await peer.until(WindowUpdateFrame)
        assert isinstance(first, WindowUpdateFrame)
        assert first.window_increment == CONNECTION_WINDOW_BYTES - 65_535
        _, recorder = await accept.first()
        updates, window, sent = 0, STREAM_WINDOW_BYTES, 0
        while sent < 10_000_000:
            while window < 100_000:
                update = await peer.until(WindowUpdateFrame)
                assert isinstance(update, WindowUpdateFrame)
                updates += 1
                window += update.window_increment if update.stream_id else 0
            peer.send(*[DataFrame(1, data=b"x" * 1000)] * 100)
            sent, window = sent + 100_000, window - 100_000
            # Let the server read: this peer's own buffer is not what is tested.
            await recorder.wait(lambda: len(recorder.data) == sent)  # noqa: B023 - awaited within the turn
        assert 2 <= updates <= 12


async def test_padding_is_credited() -> None:
    """Padding counts against the window (section 6.1), so it is credited: the stream never stalls of it."""
    accept = Acceptor()
    async with running(accept) as server, raw_peer(server.port, GREETING, request()) as peer:
        _, recorder = await accept.first()
        padded = DataFrame(1, data=b"x", pad_length=200, flags=["PADDED"]).serialize()
        each = 202
        for _ in range(3 * STREAM_WINDOW_BYTES // each // 1000):
            peer.send(padded * 1000)
            before = recorder.chunks
            await recorder.wait(lambda: recorder.chunks >= before + 1000)  # noqa: B023 - awaited within the turn
        assert (recorder.lost, len(recorder.data)) == ([], recorder.chunks)


async def test_a_refused_request_is_not_listened_to() -> None:
    """After a refusal the rest of the request is given up with RST_STREAM, NO_ERROR (section 8.1)."""
    upload = GREETING + request() + DataFrame(1, data=b"x" * 100).serialize()
    accept = Acceptor(Refusal(404, "nothing here"))
    async with running(accept) as server, raw_peer(server.port, upload) as peer:
        body = await peer.until(DataFrame)
        assert isinstance(body, DataFrame)
        assert body.data == b"nothing here"
        reset = await peer.until(RstStreamFrame)
        assert isinstance(reset, RstStreamFrame)
        assert reset.error_code == ErrorCodes.NO_ERROR
        # The connection goes on: another stream gets its answer.
        peer.send(request(3))
        assert (await peer.until(HeadersFrame)).stream_id == 3


async def test_the_end_waits_for_a_paused_reader() -> None:
    """Data and end that came while reading was paused are delivered on resume, in order, before the loss."""
    accept = Acceptor()
    async with running(accept) as server, raw_peer(server.port, GREETING, request()) as peer:
        stream, recorder = await accept.first()
        stream.pause_reading()
        stream.end()
        peer.send(DataFrame(1, data=b"da"), DataFrame(1, data=b"ta", flags=["END_STREAM"]))
        await peer.answered()
        assert (bytes(recorder.data), recorder.ended, recorder.lost) == (b"", False, [])
        stream.resume_reading()
        assert (bytes(recorder.data), recorder.ended) == (b"data", True)
        assert await recorder.wait_lost() == "ended"


async def test_one_paused_stream_does_not_stop_another() -> None:
    """On one connection, a stream whose reader is paused leaves room for another to go on."""
    accept = Acceptor()
    async with running(accept) as server, raw_peer(server.port, GREETING, request(1), request(3)) as peer:
        await accept.wait(2)
        accept.streams[0].pause_reading()
        peer.send(*[DataFrame(1, data=b"x" * 65_536)] * (STREAM_WINDOW_BYTES // 65_536))
        second = accept.recorders[1]
        for turn in range(1, 40):
            peer.send(*[DataFrame(3, data=b"y" * 65_536)] * 4)
            await second.wait(lambda: len(second.data) == turn * 4 * 65_536)  # noqa: B023 - awaited within the turn
        assert (bytes(accept.recorders[0].data), accept.recorders[0].lost) == (b"", [])
        accept.streams[0].resume_reading()
        assert len(accept.recorders[0].data) == STREAM_WINDOW_BYTES


@given(st.lists(st.binary(max_size=60), max_size=8), st.booleans())
@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_are_survived(chunks: list[bytes], greeted: bool) -> None:
    """Whatever a peer sends, the server neither fails nor hangs: it serves the next client."""

    async def attack() -> None:
        accept = Acceptor()
        async with running(accept) as server:
            async with raw_peer(server.port, GREETING if greeted else b"", *chunks):
                pass
            await still_serves(server, accept)

    asyncio.run(attack())


@pytest.mark.skipif(shutil.which("nghttp") is None, reason="nghttp (Debian: nghttp2-client) is not installed")
async def test_nghttp_can_talk_to_us() -> None:
    """A foreign implementation opens a stream, sends a body, gets our answer, and finds no fault."""

    class Echo(Recorder):
        def stream_data(self, data: bytes) -> None:
            assert self.stream is not None
            self.stream.write(data)

        def stream_ended(self) -> None:
            assert self.stream is not None
            self.stream.end()

    class EchoAcceptor(Acceptor):
        def __call__(self, stream: object) -> Echo:
            super().__call__(stream)  # type: ignore[arg-type]  # the narrow type is not the point here
            echo = Echo()
            echo.stream = self.streams[-1]
            return echo

    body = b"0123456789" * 100_000
    async with running(EchoAcceptor()) as server:
        url = f"http://127.0.0.1:{server.port}/echo"
        assert await nghttp(body, "-d", "-", url) == body
        log = await nghttp(body, "-nv", "-d", "-", url)
    assert b":status: 200" in log
    assert b"END_STREAM" in log
    assert log.count(b"error_code=") == log.count(b"error_code=NO_ERROR") > 0


async def nghttp(body: bytes, *arguments: str) -> bytes:
    """Run nghttp and return what it prints."""
    process = await asyncio.create_subprocess_exec(
        "nghttp", *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await asyncio.wait_for(process.communicate(body), PATIENCE_S)
    assert process.returncode == 0
    return output

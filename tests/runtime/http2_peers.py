"""Handlers that remember, and raw peers that speak HTTP/2 a frame at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress

from hpack import Encoder
from hyperframe.frame import Frame, GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame

from runtime.http2 import Http2Limits, Http2Server, Refusal, Stream, StreamHandler, open_stream

PATIENCE_S = 10
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
REQUEST = [(":method", "POST"), (":scheme", "http"), (":authority", "x"), (":path", "/")]


class Recorder:
    """A handler that remembers what it was told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.data = bytearray()
        self.chunks = 0
        self.ended = False
        self.lost: list[str] = []
        self._changed = asyncio.Event()

    def stream_data(self, data: bytes) -> None:
        assert not self.lost, "data after the end of life"
        self.data += data
        self.chunks += 1
        self._changed.set()

    def stream_ended(self) -> None:
        assert not self.lost, "end after the end of life"
        self.ended = True
        self._changed.set()

    def stream_lost(self, reason: str) -> None:
        self.lost.append(reason)
        self._changed.set()

    async def wait(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition on this recorder holds."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    async def wait_lost(self) -> str:
        """Wait for the end of life and return the reason."""
        await self.wait(lambda: bool(self.lost))
        return self.lost[0]


class Acceptor:
    """A server's side: one recorder per accepted stream, or a refusal."""

    def __init__(self, answer: Refusal | None = None, handler: StreamHandler | None = None) -> None:
        self.recorders: list[Recorder] = []
        self.streams: list[Stream] = []
        self._answer = answer
        self._handler = handler
        self._changed = asyncio.Event()

    def __call__(self, stream: Stream) -> StreamHandler | Refusal:
        self.streams.append(stream)
        recorder = Recorder()
        recorder.stream = stream
        self.recorders.append(recorder)
        self._changed.set()
        return self._answer or self._handler or recorder

    async def first(self) -> tuple[Stream, Recorder]:
        """Wait for the first stream."""
        await self.wait(1)
        return self.streams[0], self.recorders[0]

    async def wait(self, count: int) -> None:
        """Wait until so many streams have come."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.streams) < count:
                self._changed.clear()
                await self._changed.wait()


@asynccontextmanager
async def running(accept: Acceptor, limits: Http2Limits | None = None) -> AsyncIterator[Http2Server]:
    """Run a server on a free port."""
    server = Http2Server("127.0.0.1", 0, accept=accept, limits=limits or Http2Limits())
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def opened(port: int, recorder: Recorder, *, timeout_s: float = 5.0, keepalive_s: float = 5.0) -> Stream:
    """Open a stream to a local server with this recorder as its handler."""
    return await open_stream(
        "127.0.0.1",
        port,
        path="/stream",
        headers={"X-Name": "test"},
        handler_factory=lambda _: recorder,
        timeout_s=timeout_s,
        keepalive_s=keepalive_s,
    )


def settings(**values: int) -> bytes:
    """Return a SETTINGS frame."""
    frame = SettingsFrame(0)
    frame.settings = {getattr(SettingsFrame, name): value for name, value in values.items()}
    return frame.serialize()


def request(stream_id: int = 1, headers: Sequence[tuple[str, str]] = REQUEST) -> bytes:
    """Return a HEADERS frame that opens a stream."""
    frame = HeadersFrame(stream_id, data=Encoder().encode(list(headers)))
    frame.flags.add("END_HEADERS")
    return frame.serialize()


@asynccontextmanager
async def raw_server(answer: bytes, gone: asyncio.Event | None = None) -> AsyncIterator[int]:
    """Run a server that gives each client this answer at once, and then only listens; yields its port.

    `gone` is set when a client has left.
    """
    ended: set[asyncio.Event] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        over = asyncio.Event()
        ended.add(over)
        writer.write(answer)
        with suppress(ConnectionError):
            while await reader.read(65_536):
                pass
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        if gone is not None:
            gone.set()
        over.set()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        async with asyncio.timeout(PATIENCE_S):
            for over in ended:
                await over.wait()


class RawPeer:
    """A client that sends the bytes it is told to and parses frames, and does nothing by itself."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def send(self, *parts: bytes | Frame) -> None:
        """Send bytes and frames."""
        self._writer.write(b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts))

    async def frame(self) -> Frame | None:
        """Return the next frame, None at the end of the connection."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                head = await self._reader.readexactly(9)
                frame, length = Frame.parse_frame_header(memoryview(head))
                frame.parse_body(memoryview(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
        return frame

    async def frames(self) -> list[Frame]:
        """Return every frame up to the end of the connection."""
        result = []
        while (frame := await self.frame()) is not None:
            result.append(frame)
        return result

    async def until(self, kind: type[Frame]) -> Frame:
        """Return the next frame of a kind, skipping others."""
        while (frame := await self.frame()) is not None:
            if isinstance(frame, kind):
                return frame
        raise AssertionError(f"the connection ended without {kind.__name__}")

    async def answered(self) -> None:
        """Wait until the server has handled everything sent so far, as its answer to a PING proves."""
        self.send(PingFrame(0, opaque_data=b"answered"))
        while True:
            frame = await self.until(PingFrame)
            if isinstance(frame, PingFrame) and "ACK" in frame.flags:
                return

    async def goaway_code(self) -> int:
        """Wait for the end of the connection and return the code of its GOAWAY."""
        (frame,) = [frame for frame in await self.frames() if isinstance(frame, GoAwayFrame)]
        code: int = frame.error_code
        return code


@asynccontextmanager
async def raw_peer(port: int, *greeting: bytes) -> AsyncIterator[RawPeer]:
    """Connect a raw client and send the greeting."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    peer = RawPeer(reader, writer)
    peer.send(*greeting)
    try:
        yield peer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()

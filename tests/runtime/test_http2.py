"""Streams between our client and our server, over real sockets."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import subprocess
from pathlib import Path
from random import Random

import pytest

from runtime.http2 import ConnectFailed, Http2Limits, Http2Server, Refusal, StreamRefused, open_stream
from runtime.http2.limits import STREAM_WINDOW_BYTES
from runtime.lifecycle import StartError
from tests.runtime.http2_peers import PATIENCE_S, Acceptor, Recorder, opened, raw_server, running


async def test_bytes_travel_both_ways() -> None:
    """What one side writes the other receives, in order and byte for byte, with the request's headers known."""
    accept, client = Acceptor(), Recorder()
    async with running(accept) as server:
        stream = await opened(server.port, client)
        remote, recorder = await accept.first()
        assert (remote.headers[":path"], remote.headers["x-name"]) == ("/stream", "test")
        assert stream.headers[":status"] == "200"
        assert remote.peer.startswith("127.0.0.1:")
        for number in range(1000):
            stream.write(b"up %d;" % number)
            remote.write(b"down %d;" % number)
        await recorder.wait(lambda: recorder.data.endswith(b"up 999;"))
        await client.wait(lambda: client.data.endswith(b"down 999;"))
        assert recorder.data == b"".join(b"up %d;" % number for number in range(1000))
        assert client.data == b"".join(b"down %d;" % number for number in range(1000))
        stream.reset()


async def test_writes_of_one_turn_share_frames() -> None:
    """A thousand small writes in one turn of the loop cost a frame or two, not a thousand."""
    accept, client = Acceptor(), Recorder()
    async with running(accept) as server:
        stream = await opened(server.port, client)
        _, recorder = await accept.first()
        for _ in range(1000):
            stream.write(b"0123456789")
        await recorder.wait(lambda: len(recorder.data) == 10_000)
        assert recorder.chunks <= 2
        stream.reset()


async def test_both_ends_make_the_end() -> None:
    """end() half-closes after what was written; when both have ended, both are told, and the connection closes."""
    accept, client = Acceptor(), Recorder()
    async with running(accept) as server:
        stream = await opened(server.port, client)
        remote, recorder = await accept.first()
        stream.write(b"last words")
        stream.end()
        stream.end()
        await recorder.wait(lambda: recorder.ended)
        assert (bytes(recorder.data), recorder.lost, client.ended) == (b"last words", [], False)
        remote.write(b"understood")
        remote.end()
        assert (await recorder.wait_lost(), await client.wait_lost()) == ("ended", "ended")
        assert bytes(client.data) == b"understood"
        assert stream.closed
        assert remote.closed


async def test_write_after_end_is_a_mistake() -> None:
    """Writing to a half that was ended raises; writing to a stream that is gone is dropped."""
    accept, client = Acceptor(), Recorder()
    async with running(accept) as server:
        stream = await opened(server.port, client)
        stream.end()
        with pytest.raises(RuntimeError, match="after end"):
            stream.write(b"x")
        stream.reset()
        stream.write(b"x")
        stream.end()
        assert stream.buffered_bytes == 0


async def test_reset_ends_both_sides_once() -> None:
    """reset() gives the stream up: each side's handler hears stream_lost once, ours not from within the call."""
    accept, client = Acceptor(), Recorder()
    async with running(accept) as server:
        stream = await opened(server.port, client)
        _, recorder = await accept.first()
        stream.reset()
        stream.reset()
        assert (stream.closed, client.lost) == (True, [])
        assert await client.wait_lost() == "reset by us: CANCEL"
        assert await recorder.wait_lost() == "reset by the peer: CANCEL"
    assert (len(client.lost), len(recorder.lost)) == (1, 1)


@pytest.mark.parametrize("direction", ["up", "down"])
async def test_a_paused_reader_stops_the_writer(direction: str) -> None:
    """While a reader is paused the writer's bytes wait on the writer's side; on resume all arrive, identical."""
    accept, client = Acceptor(), Recorder()
    total = 3 * STREAM_WINDOW_BYTES
    payload = Random(1).randbytes(65_537)
    async with running(accept) as server:
        near = await opened(server.port, client)
        far, recorder = await accept.first()
        writer, reader, sink = (near, far, recorder) if direction == "up" else (far, near, client)
        reader.pause_reading()
        digest, sent = hashlib.sha256(), 0
        while sent < total:
            writer.write(payload)
            digest.update(payload)
            sent += len(payload)
        # Everything that the window lets through has left when the rest stands still.
        await settled(lambda: writer.buffered_bytes)
        assert writer.buffered_bytes == sent - STREAM_WINDOW_BYTES
        assert sink.data == b""
        reader.resume_reading()
        await sink.wait(lambda: len(sink.data) == sent)
        assert hashlib.sha256(sink.data).digest() == digest.digest()
        assert writer.buffered_bytes == 0
        near.reset()


async def settled(value: object) -> None:
    """Wait until a number has not changed for a while; there is no event for what does not happen."""
    assert callable(value)
    same, last = 0, None
    async with asyncio.timeout(PATIENCE_S):
        while same < 20:
            now = value()
            same, last = (same + 1, last) if now == last else (0, now)
            await asyncio.sleep(0.01)


async def test_a_writer_that_looks_stays_bounded() -> None:
    """A writer that stops at a mark of buffered_bytes never exceeds it by more than one write."""
    accept, client = Acceptor(), Recorder()
    mark = 256 * 1024
    async with running(accept) as server:
        stream = await opened(server.port, client)
        remote, recorder = await accept.first()
        worst = sent = 0
        for turn in range(3000):
            if turn % 100 == 0:
                remote.pause_reading()
            if turn % 100 == 50:
                remote.resume_reading()
            if stream.buffered_bytes < mark:
                stream.write(b"x" * 10_000)
                sent += 10_000
            worst = max(worst, stream.buffered_bytes)
            await asyncio.sleep(0)
        await recorder.wait(lambda: len(recorder.data) == sent)
        assert worst <= mark + 10_000
        assert sent > 2 * STREAM_WINDOW_BYTES
        stream.reset()


async def test_a_lost_connection_is_told_once() -> None:
    """When the socket dies, both handlers hear stream_lost, once, and nothing after."""
    accept, client = Acceptor(), Recorder()
    async with running(accept) as server:
        stream = await opened(server.port, client)
        _, recorder = await accept.first()
        stream.write(b"x")
        await recorder.wait(lambda: recorder.chunks == 1)
        connection = stream._wire
        connection.abort()  # type: ignore[attr-defined]  # the network's part: nobody outside may do this
        await client.wait_lost()
        await recorder.wait_lost()
    assert (len(client.lost), len(recorder.lost)) == (1, 1)


@pytest.mark.parametrize(("status", "message"), [(401, "who are you?"), (404, "no such path"), (503, "é" * 1000)])
async def test_a_refusal_reaches_the_client(status: int, message: str) -> None:
    """A refused stream raises StreamRefused with the server's status and message."""
    async with running(Acceptor(Refusal(status, message))) as server:
        with pytest.raises(StreamRefused) as refused:
            await opened(server.port, Recorder())
    assert (refused.value.status, refused.value.message) == (status, message)


async def test_an_accept_that_fails_is_500() -> None:
    """A bug in accept is the server's fault, costs that stream, and not the server."""

    class Broken(Acceptor):
        def __call__(self, stream: object) -> Refusal:
            raise LookupError("bug")

    async with running(Broken()) as server:
        for _ in range(2):
            with pytest.raises(StreamRefused) as refused:
                await opened(server.port, Recorder())
            assert refused.value.status == 500


async def test_a_handler_that_fails_costs_its_stream() -> None:
    """A handler that raises has its stream reset and is told of the loss; the peer hears INTERNAL_ERROR."""

    class Broken(Recorder):
        def stream_data(self, data: bytes) -> None:
            raise LookupError("bug")

    broken, client = Broken(), Recorder()
    async with running(Acceptor(handler=broken)) as server:
        stream = await opened(server.port, client)
        stream.write(b"x")
        assert await client.wait_lost() == "reset by the peer: INTERNAL_ERROR"
        assert await broken.wait_lost() == "reset by us: INTERNAL_ERROR"


async def test_accept_may_write_at_once() -> None:
    """What accept writes comes after the response headers, and is not lost."""

    class Eager(Acceptor):
        def __call__(self, stream: object) -> Recorder:
            answer = super().__call__(stream)  # type: ignore[arg-type]  # the narrow type is not the point here
            assert isinstance(answer, Recorder)
            assert answer.stream is not None
            answer.stream.write(b"welcome")
            return answer

    client = Recorder()
    async with running(Eager()) as server:
        stream = await opened(server.port, client)
        await client.wait(lambda: bytes(client.data) == b"welcome")
        stream.reset()


async def test_nobody_there() -> None:
    """A refused connection raises ConnectFailed that names host and port."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ConnectFailed, match=rf"127\.0\.0\.1:{port}"):
        await opened(port, Recorder())


async def test_a_server_that_does_not_answer() -> None:
    """A server that accepts and says nothing costs the timeout."""
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(ConnectFailed, match="no answer within"):
        await opened(silent.getsockname()[1], Recorder(), timeout_s=0.2)


async def test_a_server_of_another_protocol() -> None:
    """A server that answers something else than HTTP/2 raises ConnectFailed."""

    async with raw_server(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n") as port:
        with pytest.raises(ConnectFailed, match="does not speak HTTP/2"):
            await opened(port, Recorder())


async def test_a_cancelled_open_leaves_nothing() -> None:
    """Cancelling open_stream closes its connection."""
    gone = asyncio.Event()
    async with raw_server(b"", gone) as port:
        task = asyncio.create_task(opened(port, Recorder()))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(gone.wait(), PATIENCE_S)


async def test_stop_says_goodbye() -> None:
    """A server that stops sends what it has, then GOAWAY; the client's handler hears of it, as does the server's."""
    accept, client = Acceptor(), Recorder()
    async with running(accept) as server:
        await opened(server.port, client)
        remote, recorder = await accept.first()
        remote.write(b"farewell")
        await server.stop()
        assert recorder.lost == ["we are going away"]
        assert await client.wait_lost() == "the peer is going away: NO_ERROR"
        assert bytes(client.data) == b"farewell"


async def test_a_taken_port_is_named() -> None:
    """A port that is in use fails the start with a sentence that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = Http2Server("127.0.0.1", port, accept=Acceptor())
        with pytest.raises(StartError, match=f"{port}: Address already in use"):
            await server.start()
        await server.stop()


async def test_a_quiet_stream_lives() -> None:
    """A stream without data is kept alive by PING, beyond the time after which silence means death."""
    accept, client = Acceptor(), Recorder()
    async with running(accept, Http2Limits(keepalive_s=0.1)) as server:
        stream = await opened(server.port, client, keepalive_s=0.1)
        _, recorder = await accept.first()
        await asyncio.sleep(0.6)
        assert (client.lost, recorder.lost) == ([], [])
        stream.write(b"still here")
        await recorder.wait(lambda: bytes(recorder.data) == b"still here")
        stream.reset()


def certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost."""
    key, crt = folder / "key.pem", folder / "crt.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost", "-keyout", key, "-out", crt],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return crt, key


async def test_tls_with_mutual_authentication(tmp_path: Path) -> None:
    """Over TLS both sides agree on h2 by ALPN, and a client without a certificate is refused where one is wanted."""
    crt, key = certificate(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(crt, key)
    server_side.load_verify_locations(crt)
    server_side.verify_mode = ssl.CERT_REQUIRED
    client_side = ssl.create_default_context(cafile=str(crt))
    stranger = ssl.create_default_context(cafile=str(crt))
    client_side.load_cert_chain(crt, key)
    accept, client = Acceptor(), Recorder()
    server = Http2Server("127.0.0.1", 0, accept=accept, ssl=server_side)
    await server.start()

    stream = await open_stream(
        "127.0.0.1", server.port, path="/", headers={}, handler_factory=lambda _: client, ssl=client_side
    )
    remote, recorder = await accept.first()
    assert remote.headers[":scheme"] == "https"
    stream.write(b"secret" * 100_000)
    await recorder.wait(lambda: len(recorder.data) == 600_000)
    with pytest.raises(ConnectFailed):
        await open_stream(
            "127.0.0.1", server.port, path="/", headers={}, handler_factory=lambda _: Recorder(), ssl=stranger
        )
    await server.stop()
    await client.wait_lost()

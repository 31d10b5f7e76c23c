"""Holds many viewers of one room in one process and throws away what they receive. Run by the benchmarks.

It speaks the wire by itself, with plain sockets, so that it costs little and shares nothing with the gateway. Commands
come on standard input, one a line: `count` answers with the bytes received so far, `quit` ends.
"""

import argparse
import select
import socket
import struct
import sys

REQUEST = (
    b"GET /ws HTTP/1.1\r\nHost: bench\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
CHUNK = 64
"""Handshakes under way at once."""


def masked_text(payload: bytes) -> bytes:
    """Return a client's text frame with a mask of zeros, which is legal and needs no work."""
    head = struct.pack(">BB", 0x81, 0x80 | len(payload)) if len(payload) < 126 else b""
    assert head, "short commands only"
    return head + bytes(4) + payload


def connect(port: int, count: int, room: str | None) -> list[socket.socket]:
    """Open `count` connections; with a room, upgrade and join it, and wait for every answer."""
    sockets: list[socket.socket] = []
    join = masked_text(b'{"type":"JOIN","data":{"room":"%b"}}' % room.encode()) if room else b""
    for start in range(0, count, CHUNK):
        batch = [socket.create_connection(("127.0.0.1", port)) for _ in range(min(CHUNK, count - start))]
        if room:
            for viewer in batch:
                viewer.sendall(REQUEST + join)
            for viewer in batch:
                wait_for(viewer, b"JOINED")
        sockets += batch
    return sockets


def wait_for(viewer: socket.socket, word: bytes) -> None:
    """Read until a word has come."""
    received = b""
    while word not in received:
        chunk = viewer.recv(4096)
        if not chunk:
            raise SystemExit(f"connection closed after {received[:200]!r}")
        received += chunk


def drain(sockets: list[socket.socket]) -> None:
    """Throw away what comes until told to quit."""
    poll = select.epoll()
    by_fd = {viewer.fileno(): viewer for viewer in sockets}
    for viewer in sockets:
        viewer.setblocking(False)
        poll.register(viewer.fileno(), select.EPOLLIN)
    poll.register(0, select.EPOLLIN)
    buffer = bytearray(256 * 1024)
    received = 0
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == 0:
                line = sys.stdin.readline().strip()
                if line != "count":
                    return
                print(received, flush=True)
                continue
            try:
                size = by_fd[descriptor].recv_into(buffer)
            except OSError:
                size = 0
            if not size:
                poll.unregister(descriptor)
            received += size


def main() -> None:
    """Connect, say `ready`, drain."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--room", help="join this room as WebSocket viewers; without it: bare TCP connections")
    arguments = parser.parse_args()
    sockets = connect(arguments.port, arguments.count, arguments.room)
    print("ready", flush=True)
    drain(sockets)


if __name__ == "__main__":
    main()

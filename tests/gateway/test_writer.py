"""The inner loop: one frame to many sockets."""

import os
import socket
from collections.abc import Iterator

import pytest

from gateway.writer import DEAD, write_to_all

Pair = tuple[socket.socket, socket.socket]


def connected(send_buffer: int | None = None) -> Pair:
    """Make a pair of sockets of which the first does not block."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    if send_buffer is not None:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
    return ours, theirs


@pytest.fixture
def pairs() -> Iterator[list[Pair]]:
    """Make three pairs."""
    made = [connected(4096) for _ in range(3)]
    yield made
    for pair in made:
        for end in pair:
            end.close()


def fill(end: socket.socket) -> int:
    """Write until the socket takes no more."""
    total = 0
    while True:
        try:
            total += end.send(b"f" * 4096)
        except BlockingIOError:
            return total


def test_everybody_gets_the_frame(pairs: list[Pair]) -> None:
    """Every socket takes the frame whole, and nothing is to be reported."""
    assert write_to_all([ours.fileno() for ours, _ in pairs], b"frame") == []
    assert [theirs.recv(100) for _, theirs in pairs] == [b"frame"] * 3


def test_a_full_socket_takes_nothing(pairs: list[Pair]) -> None:
    """A full socket is reported with 0 bytes and holds nobody up."""
    filled = fill(pairs[1][0])
    assert write_to_all([ours.fileno() for ours, _ in pairs], b"frame") == [(1, 0)]
    assert pairs[1][1].recv(filled + 100, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == b"f" * filled
    assert [pairs[0][1].recv(100), pairs[2][1].recv(100)] == [b"frame"] * 2


def test_a_nearly_full_socket_takes_a_part(pairs: list[Pair]) -> None:
    """A frame larger than the free space is reported with what was taken of it."""
    frame = os.urandom(1024 * 1024)
    ((index, taken),) = write_to_all([pairs[0][0].fileno()], frame)
    assert index == 0
    assert 0 < taken < len(frame)
    received = b""
    while len(received) < taken:
        received += pairs[0][1].recv(taken - len(received))
    assert received == frame[:taken]


def test_a_dead_peer_is_reported(pairs: list[Pair]) -> None:
    """A socket whose peer is gone is reported as dead and holds nobody up, and so is no descriptor at all."""
    pairs[0][1].close()
    assert write_to_all([pairs[0][0].fileno(), DEAD, pairs[2][0].fileno()], b"frame") == [(0, DEAD), (1, DEAD)]
    assert pairs[2][1].recv(100) == b"frame"

"""The one timer: silence, stuck sockets and closes that are not answered."""

from collections.abc import Iterator

import pytest

from gateway.bucket import Bucket
from gateway.sweep import CLOSING_S, SWEEP_S, Patience, Sweep, unique_dialects
from protocol.codes import CloseCode
from protocol.dialect import Joined
from protocol.websocket.frames import OP_PONG
from protocol.websocket.receiver import Close, Ping
from tests.gateway.viewer import DIALECT, SMALL_BUFFER, RecordingHost, Viewer

PATIENCE = Patience(ping_s=25, idle_s=60, stuck_s=30)


class Garden:
    """Some buckets with a viewer in each, one clock, and the sweep over them."""

    def __init__(self) -> None:
        self.host = RecordingHost()
        self.buckets = [Bucket(65_536) for _ in range(5)]
        self.viewers = [Viewer(bucket, self.host, buffer_bytes=SMALL_BUFFER) for bucket in self.buckets]
        for viewer in self.viewers:
            viewer.connection.bucket.enter(viewer.connection)
        self.sweep = Sweep(self.buckets, [DIALECT], PATIENCE)

    def go_to(self, now: float) -> None:
        """Set the clock and do a whole round in steps."""
        self.host.now = now
        for _ in range(20):
            self.sweep.step(now, SWEEP_S / 20)


@pytest.fixture
def garden() -> Iterator[Garden]:
    """Make the garden."""
    made = Garden()
    yield made
    for viewer in made.viewers:
        viewer.close()


def test_a_silent_connection_is_pinged_once(garden: Garden) -> None:
    """After the first limit a ping is sent, one, however often the sweep passes."""
    garden.go_to(24)
    assert [viewer.events() for viewer in garden.viewers] == [[]] * 5
    garden.go_to(26)
    garden.go_to(40)
    assert [viewer.events() for viewer in garden.viewers] == [[Ping(b"")]] * 5


def test_anything_received_counts_as_life(garden: Garden) -> None:
    """A pong starts the silence anew, and the next ping is due after as long again."""
    garden.go_to(26)
    alive = garden.viewers[0]
    alive.says(b"", OP_PONG)
    garden.go_to(61)
    assert alive.events() == [Ping(b""), Ping(b"")]
    assert alive.connection.is_open
    assert [isinstance(viewer.events()[-1], Close) for viewer in garden.viewers[1:]] == [True] * 4


def test_an_idle_connection_is_closed(garden: Garden) -> None:
    """After the second limit it is closed with 4000 and a text that names the limit."""
    garden.go_to(61)
    assert garden.viewers[0].events() == [Close(CloseCode.IDLE, "nothing was heard for 60 s")]
    assert garden.host.closings == [CloseCode.IDLE] * 5


def test_a_stuck_socket_is_closed(garden: Garden) -> None:
    """A socket that takes nothing of what waits is given up, though its client keeps talking."""
    stuck = garden.viewers[0]
    key = ("r", "json")
    stuck.connection.bucket.join(stuck.connection, key, (0, 0, 0), lambda *_: DIALECT.encode_reply(Joined("r")))
    stuck.fill()
    stuck.connection.send(b"x" * 100)
    for now in (10, 20, 29):
        stuck.says(b'{"type":"PING"}')
        garden.go_to(now)
    assert garden.host.closings == []
    stuck.says(b'{"type":"PING"}')
    garden.go_to(31)
    assert garden.host.closings == [CloseCode.STUCK]


def test_progress_is_not_stuck(garden: Garden) -> None:
    """A slow socket that takes a chunk now and then is put up with."""
    slow = garden.viewers[0]
    filler = slow.fill()
    slow.connection.send(b"x" * 100)
    garden.go_to(20)
    slow.skip(filler)
    slow.transport.flush()
    assert slow.raw() == b"x" * 100
    filler = slow.fill()
    slow.connection.send(b"y" * 100)
    slow.says(b"")
    garden.go_to(49)
    assert garden.host.closings == []


def test_a_close_that_is_not_answered_is_cut(garden: Garden) -> None:
    """A client that does not answer our Close in time loses the connection; one that is gone is forgotten."""
    silent, gone = garden.viewers[:2]
    garden.sweep.closing(silent.connection, 100)
    garden.sweep.closing(gone.connection, 100)
    assert garden.sweep.closed(gone.connection)
    assert not garden.sweep.closed(gone.connection)
    garden.sweep.step(100 + CLOSING_S - 0.1, 0.1)
    assert not silent.transport.aborted
    garden.sweep.step(100 + CLOSING_S, 0.1)
    assert (silent.transport.aborted, gone.transport.aborted) == (True, False)


def test_cut_does_not_wait(garden: Garden) -> None:
    """At the end every connection that is still closing is cut."""
    garden.sweep.closing(garden.viewers[0].connection, 100)
    garden.sweep.cut()
    assert [viewer.transport.aborted for viewer in garden.viewers] == [True, False, False, False, False]


@pytest.mark.parametrize("step_s", [0.01, 0.1, 0.33, 2.0, 50.0])
def test_every_bucket_is_looked_at_in_a_round(garden: Garden, step_s: float) -> None:
    """Whatever the steps, a whole round takes SWEEP_S; a late step catches up with one round at most."""
    garden.host.now = 30
    elapsed = 0.0
    while elapsed < SWEEP_S + 1e-6:
        garden.sweep.step(30, step_s)
        elapsed += step_s
    assert [viewer.events() for viewer in garden.viewers] == [[Ping(b"")]] * 5


def test_dialects_by_name() -> None:
    """Several paths may speak one dialect; it is walked over once."""
    assert unique_dialects({"/ws": DIALECT, "/connect": DIALECT}) == {"json": DIALECT}

"""Viewers that read too slowly: what they lose, that they are told, and that nobody else waits."""

from collections.abc import Awaitable, Callable

from protocol.codes import CloseCode
from tests.gateway.sockets.platform import ROOM, Platform, RawClient, Start, Viewer

RECEIVE_BUFFER = 4_096
OUTBOX = 262_144
ITEM = 15_000
PUSHES_MAX = 4_000


async def crowd(start: Start, **changes: object) -> tuple[Platform, RawClient, Viewer]:
    """Start a gateway with a viewer that does not read and one that does, both in the room."""
    platform = await start(outbox_bytes=OUTBOX, **changes)
    slow = await platform.connect_raw(receive_buffer=RECEIVE_BUFFER)
    fast = await platform.connect(max_size=None)
    await slow.join()
    await fast.join(ROOM)
    return platform, slow, fast


async def push_until(platform: Platform, fast: Viewer, full: Callable[[], bool], *, reliable: bool = False) -> int:
    """Push until the state is reached; the fast viewer gets each push before the next. Returns the last sequence."""
    for _ in range(PUSHES_MAX):
        seqs = platform.push(ROOM, 8, size=ITEM, reliable=reliable)
        kind, data = await fast.hear()
        assert (kind, data["seq"]) == ("PUSH", seqs[-1])
        if full():
            return seqs[-1]
    raise AssertionError("the socket never filled")


def shed_by(platform: Platform) -> Callable[[], bool]:
    """Return a condition: the slow viewer's outbox has shed something."""

    def shed() -> bool:
        connections = [c for bucket in platform.gateway.hub.buckets for c in bucket.connections("json")]
        return any(connection.outbox and connection.outbox.shed for connection in connections)

    return shed


async def read_until(slow: RawClient, done: Callable[[list[int], int], bool]) -> tuple[list[int], int]:
    """Read pushes and notices; return the sequences that came and how many were said to be dropped."""
    seqs: list[int] = []
    dropped = 0
    while not done(seqs, dropped):
        kind, data = await slow.hear()
        if kind == "PUSH":
            seqs += [int(item.rstrip("x")) for item in data["items"]]
        elif kind == "SHED":
            assert data["room"] == ROOM
            dropped += data["count"]
    return seqs, dropped


Reading = Callable[[RawClient], Awaitable[None]]


async def test_a_slow_viewer_is_told_what_it_missed(start: Start) -> None:
    """What it gets is whole and in order; what it does not get is counted exactly; everybody else is prompt."""
    platform, slow, fast = await crowd(start)
    last = await push_until(platform, fast, shed_by(platform))
    seqs, dropped = await read_until(slow, lambda seqs, dropped: len(seqs) + dropped == last)
    assert seqs == sorted(set(seqs))
    assert seqs[-1] == last, "the oldest are dropped, not the newest"
    assert dropped == last - len(seqs) > 0
    assert platform.gateway.counters.shed == {"slow_viewer": dropped}
    counters = platform.gateway.counters
    assert counters.deliveries + dropped == 2 * last, "delivered + shed = accepted, for both viewers"
    # It keeps up again, and is treated like anybody.
    (seq,) = platform.push(ROOM)
    assert (await slow.hear())[1]["seq"] == (await fast.hear())[1]["seq"] == seq


async def test_a_slow_viewer_s_commands_are_answered_in_turn(start: Start) -> None:
    """What a slow viewer asks is answered behind what it has not read yet."""
    platform, slow, fast = await crowd(start)
    last = await push_until(platform, fast, shed_by(platform))
    await slow.say("LEAVE", room=ROOM, ref="out")
    kinds: list[str] = []
    while "LEFT" not in kinds:
        kinds.append((await slow.hear())[0])
    platform.push(ROOM)
    await fast.hear()
    await slow.say("PING")
    while "PONG" not in kinds:
        kinds.append((await slow.hear())[0])
    assert kinds.count("PUSH") > 0
    assert "PUSH" not in kinds[kinds.index("LEFT") :], "no frame of the room follows the answer to LEAVE"
    assert last > 0


async def test_too_many_reliable_messages_end_the_viewer(start: Start) -> None:
    """Reliable messages are never dropped: a viewer that cannot take them is closed with 4001 and may come back."""
    platform, slow, fast = await crowd(start)
    closed = platform.gateway.counters.connections_closed
    await push_until(platform, fast, lambda: CloseCode.TOO_SLOW in closed, reliable=True)
    close = await slow.ends()
    assert (close.code, close.reason) == (
        CloseCode.TOO_SLOW,
        "more was queued for this connection than its outbox holds",
    )
    platform.push(ROOM)
    await fast.hear()
    await platform.until(lambda: platform.gateway.hub.connections == 1)


async def test_a_stuck_viewer_is_given_up(start: Start) -> None:
    """A socket that takes nothing for too long is closed with 4002, whatever waits for it."""
    platform, slow, fast = await crowd(start, stuck_seconds=1)
    await push_until(platform, fast, shed_by(platform))
    await platform.until(lambda: CloseCode.STUCK in platform.gateway.counters.connections_closed)
    close = await slow.ends()
    assert (close.code, close.reason) == (CloseCode.STUCK, "the socket took nothing for 1 s")
    platform.push(ROOM)
    await fast.hear()
    assert set(platform.gateway.counters.shed) == {"slow_viewer", "closed"}


async def test_a_slow_viewer_that_vanishes_is_accounted_for(start: Start) -> None:
    """Messages that waited for a viewer that is gone are counted as not delivered."""
    platform, slow, fast = await crowd(start)
    last = await push_until(platform, fast, shed_by(platform))
    slow.abort()
    await platform.until(lambda: platform.gateway.hub.connections == 1)
    counters = platform.gateway.counters
    assert counters.deliveries + sum(counters.shed.values()) == 2 * last
    assert counters.shed["closed"] > 0

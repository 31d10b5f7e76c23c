"""A stripe of connections under one lock.

Per room and dialect a bucket holds a dense array of descriptors. A fan-out thread writes a frame to that array while
it holds the lock; everything else that writes to these sockets, or closes them, takes the same lock. Hence:

* a frame and a reply never interleave on a socket;
* a descriptor leaves its arrays, under the lock, before it is closed, so a reused number never receives another
  viewer's bytes;
* a socket that is full moves its connection to the slow side, at once and in all its rooms: from then on frames go
  to its outbox until the event loop has emptied it.

The lock is held for one bucket's share of a room (a hundred writes of a few microseconds): that is the longest that a
join, a reply or a heartbeat waits for a huge room.
"""

from array import array
from collections.abc import Callable, Iterator
from threading import Lock
from typing import TYPE_CHECKING, Final

from gateway.outbox import Frame, Outbox
from gateway.writer import DEAD, write_to_all

if TYPE_CHECKING:
    from gateway.connection import Connection

GroupKey = tuple[str | None, str]
"""Room (None: every connection) and dialect name."""


class Group:
    """The viewers of one room and dialect in one bucket; `number`, `seq` and `epoch` tell the last frame written."""

    __slots__ = ("descriptors", "epoch", "members", "number", "seq", "slow")

    def __init__(self, number: int, seq: int, epoch: int) -> None:
        self.descriptors = array("i")
        self.members: list[Connection] = []
        self.slow: list[Connection] = []
        self.number = number
        self.seq = seq
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.members) + len(self.slow)

    def add(self, connection: "Connection") -> None:
        """Add to the slow side or to the dense arrays, as the connection stands."""
        if connection.outbox is not None:
            self.slow.append(connection)
        else:
            self.members.append(connection)
            self.descriptors.append(connection.descriptor)

    def remove(self, connection: "Connection") -> None:
        """Remove from whichever side; the last of the arrays takes the free place."""
        if connection in self.slow:
            self.slow.remove(connection)
            return
        index = self.members.index(connection)
        last, descriptor = self.members.pop(), self.descriptors.pop()
        if last is not connection:
            self.members[index], self.descriptors[index] = last, descriptor


class Written:
    """What became of one frame in one bucket."""

    __slots__ = ("queued", "troubled", "written")

    def __init__(self) -> None:
        self.written = 0
        self.queued = 0
        self.troubled: list[Connection] = []


class Bucket:
    """A stripe: its lock, and its groups by room and dialect."""

    __slots__ = ("_groups", "_outbox_limit", "lock")

    def __init__(self, outbox_limit: int) -> None:
        self.lock: Final = Lock()
        self._groups: dict[GroupKey, Group] = {}
        self._outbox_limit = outbox_limit

    def __repr__(self) -> str:
        return f"<Bucket groups={len(self._groups)}>"

    def connections(self, dialect: str) -> list["Connection"]:
        """Return every connection of a dialect."""
        with self.lock:
            group = self._groups.get((None, dialect))
            return [*group.members, *group.slow] if group else []

    def write(self, key: GroupKey, frame: Frame, now: float) -> Written:
        """Write the frame to a group, from any thread. Connections that need the event loop's care are returned."""
        result = Written()
        with self.lock:
            group = self._groups.get(key)
            if group is None or 0 < frame.number <= group.number:
                return result
            group.number, group.seq, group.epoch = frame.number, frame.seq, frame.epoch
            incomplete = write_to_all(group.descriptors, frame.data)
            result.written = len(group.descriptors) - len(incomplete)
            for connection in group.slow:
                self._enqueue(connection, frame, result)
            for connection, taken in [(group.members[index], taken) for index, taken in incomplete]:
                self._stumble(connection, frame, taken, now)
                result.troubled.append(connection)
                result.queued += taken != DEAD
        return result

    def send(self, connection: "Connection", data: bytes, now: float) -> bool:
        """Write a reply to one connection, behind everything sent to it before; False when it needs care."""
        with self.lock:
            return self._send(connection, data, now)

    def enter(self, connection: "Connection") -> None:
        """Take a new connection."""
        with self.lock:
            connection.attached = True
            key = (None, connection.dialect.name)
            self._groups.setdefault(key, Group(0, 0, 0)).add(connection)

    def join(
        self, connection: "Connection", key: GroupKey, at: tuple[int, int, int], reply: Callable[[int, int], bytes]
    ) -> bool:
        """Answer a join and let the room's frames follow, with nothing between and nothing lost.

        `at` is the room's last frame number, sequence and epoch, for a group that is new; `reply` makes the answer
        from the sequence and epoch behind which this connection will receive everything. Who is in the room already
        is answered, too. False when it needs care.
        """
        with self.lock:
            group = self._groups.get(key)
            if group is None:
                group = self._groups[key] = Group(*at)
            well = self._send(connection, reply(group.seq, group.epoch), connection.heard_at)
            if connection.attached and key[0] is not None and key[0] not in connection.rooms:
                connection.rooms += (key[0],)
                group.add(connection)
            elif not group:
                self._groups.pop(key, None)
            return well

    def leave(self, connection: "Connection", key: GroupKey) -> bool:
        """Take a connection out of one room; True when that left the room's group empty."""
        with self.lock:
            connection.rooms = tuple(room for room in connection.rooms if room != key[0])
            if connection.attached:
                self._take_out(connection, key)
            return key not in self._groups

    def holds(self, key: GroupKey) -> bool:
        """Tell whether any viewer of this room and dialect is here."""
        return key in self._groups

    def exit(self, connection: "Connection") -> None:
        """Take a connection out of everything: no frame reaches it from now on, replies still do."""
        with self.lock:
            self._exit(connection)

    def forget(self, connection: "Connection") -> None:
        """The same, and never touch its descriptor again: the caller is about to close it."""
        with self.lock:
            self._exit(connection)
            connection.descriptor = DEAD

    def next_chunk(self, connection: "Connection", notice: Callable[[dict[str, int]], bytes]) -> bytes | None:
        """Return what to write next for a slow connection; None when it has caught up and is back on the fast side.

        `notice` makes the bytes that tell the viewer what was shed.
        """
        with self.lock:
            outbox = connection.outbox
            if outbox is None:
                return None
            data = outbox.take()
            if data is None and outbox.shed:
                data = notice(outbox.take_shed())
            if data is None:
                self._regroup(connection, None)
            return data

    def last_word(self, connection: "Connection", data: bytes, now: float) -> tuple[bool, int]:
        """Write bytes after which nothing more is sent; what waited is forgotten.

        Returns whether they were written at once, and how many messages were forgotten.
        """
        with self.lock:
            if connection.outbox is not None:
                return False, connection.outbox.put_last(data)
            return self._send(connection, data, now), 0

    def _keys(self, connection: "Connection") -> Iterator[GroupKey]:
        dialect = connection.dialect.name
        yield (None, dialect)
        for room in connection.rooms:
            yield (room, dialect)

    def _exit(self, connection: "Connection") -> None:
        if connection.attached:
            connection.attached = False
            for key in self._keys(connection):
                self._take_out(connection, key)

    def _take_out(self, connection: "Connection", key: GroupKey) -> None:
        group = self._groups[key]
        group.remove(connection)
        if not group:
            del self._groups[key]

    def _regroup(self, connection: "Connection", outbox: Outbox | None) -> None:
        """Move a connection between the fast and the slow side of all its groups."""
        groups = [self._groups[key] for key in self._keys(connection)] if connection.attached else []
        for group in groups:
            group.remove(connection)
        connection.outbox = outbox
        for group in groups:
            group.add(connection)

    def _enqueue(self, connection: "Connection", frame: Frame, result: Written) -> None:
        assert connection.outbox is not None, "the slow side has outboxes"
        if connection.outbox.put(frame):
            result.queued += 1
        else:
            connection.overflowed = True
            result.troubled.append(connection)

    def _stumble(self, connection: "Connection", frame: Frame, taken: int, now: float) -> None:
        """Take care of a connection that did not take a frame whole."""
        if taken == DEAD:
            self._exit(connection)
            connection.descriptor = DEAD
            return
        outbox = Outbox(self._outbox_limit, now)
        if taken:
            outbox.begin_with_rest(frame.data[taken:], frame.count)
        else:
            connection.overflowed = not outbox.put(frame)
        self._regroup(connection, outbox)

    def _send(self, connection: "Connection", data: bytes, now: float) -> bool:
        if connection.outbox is not None:
            if not connection.outbox.put(data):
                connection.overflowed = True
                return False
            return True
        if connection.descriptor == DEAD:
            return True
        trouble = write_to_all((connection.descriptor,), data)
        if not trouble:
            return True
        taken = trouble[0][1]
        if taken == DEAD:
            self._exit(connection)
            connection.descriptor = DEAD
        else:
            outbox = Outbox(self._outbox_limit, now)
            outbox.begin_with_rest(data[taken:], 0)
            self._regroup(connection, outbox)
        return False

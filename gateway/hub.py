"""Who is here and in which rooms, and where a push goes from there. Event loop only."""

from collections.abc import Callable, Collection, Iterator
from functools import partial

from gateway.batch import PendingBatch
from gateway.bucket import Bucket
from gateway.connection import Connection
from gateway.dedupe import DirectDedupe
from gateway.fanout import Tally
from gateway.ordering import RoomOrder
from gateway.outbox import Frame
from gateway.room import Room, RoomSurroundings
from protocol.dialect import Joined, Left
from protocol.dialect import Ref as CommandRef
from protocol.envelope import Broadcast, RoomPush, UserPush, decode_block

Position = tuple[int, int] | None
"""Epoch and last sequence of a room as Redis has it; None when Redis did not say."""

ReadPosition = Callable[[str, Callable[[Position], None]], None]
"""Starts reading a room's position; the callback hears it, soon and once."""


class Hub:
    """The rooms, users and connections of one gateway."""

    def __init__(self, buckets: list[Bucket], around: RoomSurroundings, read_position: ReadPosition) -> None:
        self.buckets = buckets
        self.rooms: dict[str, Room] = {}
        self.changed: set[str] = set()
        self.connections = 0
        self._around = around
        self._read_position = read_position
        self._users: dict[str, set[Connection]] = {}
        self._waiting: dict[str, list[tuple[Connection, Callable[[], None]]]] = {}
        # The same by connection: which rooms it waits for.
        self._joining: dict[Connection, set[str]] = {}
        self._placing: Room | None = None
        self._dedupe = DirectDedupe()
        self._next_bucket = 0

    def __repr__(self) -> str:
        return f"<Hub connections={self.connections} rooms={len(self.rooms)} users={len(self._users)}>"

    def now(self) -> float:
        """Return the time, in monotonic seconds."""
        return self._around.loop.time()

    # -- connections

    def assign_bucket(self) -> Bucket:
        """Return the bucket for a new connection: they take turns, so all stay of one size."""
        self._next_bucket = (self._next_bucket + 1) % len(self.buckets)
        return self.buckets[self._next_bucket]

    def enter(self, connection: Connection) -> None:
        """Take a connection that finished its handshake; broadcasts reach it from now on."""
        self.connections += 1
        connection.bucket.enter(connection)

    def identify(self, connection: Connection) -> None:
        """Remember whose connection this is."""
        assert connection.identity is not None, "called after authentication"
        self._users.setdefault(connection.identity.id, set()).add(connection)

    def unidentify(self, connection: Connection) -> None:
        """Forget whose connection this is."""
        if connection.identity is None:
            return
        mine = self._users.get(connection.identity.id)
        if mine is not None:
            mine.discard(connection)
            if not mine:
                del self._users[connection.identity.id]

    def remove(self, connection: Connection) -> None:
        """Take a connection out of everything; nothing touches its descriptor after this."""
        self.withdraw(connection)
        connection.bucket.forget(connection)
        self.connections -= 1

    def withdraw(self, connection: Connection) -> None:
        """Take a connection that is closing out of its rooms: no frame reaches it from now on."""
        connection.bucket.exit(connection)
        rooms, connection.rooms = connection.rooms, ()
        for name in rooms:
            self._left(connection, name)
        self.unidentify(connection)

    # -- joining and leaving

    def join(self, connection: Connection, name: str, ref: CommandRef) -> None:
        """Join a room and answer; the first viewer's answer waits until the room's position is known."""
        room = self.rooms.get(name)
        if room is None:
            room = self.rooms[name] = Room(name, self._around)
        if room.order is None:
            waiting = self._waiting.setdefault(name, [])
            waiting.append((connection, partial(self._complete_join, room, connection, ref)))
            self._joining.setdefault(connection, set()).add(name)
            if len(waiting) == 1:
                self._read_position(name, partial(self._placed, room))
        else:
            self._complete_join(room, connection, ref)

    def defer(self, connection: Connection, name: str, action: Callable[[], None]) -> bool:
        """Keep an action until this connection's pending join of the room is answered; False when none is pending."""
        if name not in self.joining(connection):
            return False
        self._waiting[name].append((connection, action))
        return True

    def leave(self, connection: Connection, name: str, ref: CommandRef) -> None:
        """Leave a room and answer; no frame of the room follows the answer."""
        connection.bucket.leave(connection, (name, connection.dialect.name))
        self._left(connection, name)
        connection.send(connection.dialect.encode_reply(Left(name, ref)))

    def joining(self, connection: Connection) -> Collection[str]:
        """Return the rooms whose position this connection is still waiting for."""
        return self._joining.get(connection, ())

    def _placed(self, room: Room, position: Position) -> None:
        room.place(RoomOrder(0, 0) if position is None else RoomOrder(position[0], position[1] + 1))
        # What waited may leave again: the room stays until all of it is done.
        self._placing = room
        for connection, action in self._waiting.pop(room.name, []):
            self._no_longer_joining(connection, room.name)
            if connection.is_open:
                action()
        self._placing = None
        self._drop_if_empty(room)

    def _no_longer_joining(self, connection: Connection, name: str) -> None:
        joining = self._joining.get(connection)
        if joining is not None:
            joining.discard(name)
            if not joining:
                del self._joining[connection]

    def _complete_join(self, room: Room, connection: Connection, ref: CommandRef) -> None:
        dialect = connection.dialect
        again = room.name in connection.rooms
        online = max(room.online, room.viewers + (not again))

        def reply(seq: int, epoch: int) -> bytes:
            return dialect.encode_reply(Joined(room.name, seq, epoch, online, False, ref))

        well = connection.bucket.join(connection, (room.name, dialect.name), (room.number, room.seq, room.epoch), reply)
        if not again and room.name in connection.rooms:
            room.viewers += 1
            room.homes.setdefault(dialect.name, set()).add(connection.bucket)
            self.changed.add(room.name)
        self._drop_if_empty(room)
        if not well:
            connection.attend()

    def _left(self, connection: Connection, name: str) -> None:
        room = self.rooms[name]
        room.viewers -= 1
        self.changed.add(name)
        key = (name, connection.dialect.name)
        if not connection.bucket.holds(key):
            room.homes[key[1]].discard(connection.bucket)
        self._drop_if_empty(room)

    def _drop_if_empty(self, room: Room) -> None:
        kept = room.viewers or room.name in self._waiting or room is self._placing
        if not kept and self.rooms.get(room.name) is room:
            self._around.counters.messages_unheard += room.close()
            del self.rooms[room.name]

    # -- pushes

    def push_to_room(self, push: RoomPush) -> None:
        """Deliver one copy of a room push."""
        self._around.counters.messages_received += push.count
        room = self.rooms.get(push.room)
        if room is None:
            self._around.counters.messages_unheard += push.count
        else:
            room.receive(push)

    def push_to_all(self, push: Broadcast) -> None:
        """Deliver one copy of a broadcast to every connection, at once."""
        if self._is_first_copy(push):
            for name, dialect in self._around.dialects.items():
                buckets = [bucket for bucket in self.buckets if bucket.holds((None, name))]
                now = self._around.loop.time()
                for frame in _direct_frames("all", push, dialect.encode_direct_batch):
                    done = partial(self._broadcast_written, frame)
                    self._around.fanout.write((None, name), frame, buckets, done, now)

    def push_to_user(self, push: UserPush) -> None:
        """Deliver one copy of a push to every connection of a user, at once."""
        mine = self._users.get(push.user, ())
        if self._is_first_copy(push) and mine:
            for name, dialect in self._around.dialects.items():
                for frame in _direct_frames("user", push, dialect.encode_direct_batch):
                    for connection in [item for item in mine if item.dialect.name == name]:
                        connection.send(frame.data)
                        self._around.counters.deliveries += frame.count

    def expire_gaps(self) -> None:
        """Let rooms that wait for a missing message go on."""
        for room in list(self._around.gaps):
            room.expire_gap()

    def _is_first_copy(self, push: Broadcast | UserPush) -> bool:
        self._around.counters.messages_received += push.count
        if self._dedupe.first_copy(push.instance, push.counter):
            return True
        self._around.counters.messages_duplicate += push.count
        return False

    def _broadcast_written(self, frame: Frame, tally: Tally) -> None:
        self._around.counters.frames_written += tally.written
        self._around.counters.frames_queued += tally.queued
        self._around.counters.bytes_written += tally.written * len(frame.data)
        self._around.counters.deliveries += tally.written * frame.count
        self._around.attend(tally)


def _direct_frames(to: str, push: Broadcast | UserPush, encode: Callable[[str, list[bytes]], bytes]) -> Iterator[Frame]:
    """Encode a push that belongs to no room: within the frame limit, like a room's."""
    pending = PendingBatch()
    pending.add(decode_block(push.block, push.count), 1, 0)
    for batch in pending.take():
        yield Frame(encode(to, batch.items), None, len(batch.items), batch.lossy)

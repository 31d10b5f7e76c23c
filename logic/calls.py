"""Between a planned call and Redis: the script's arguments, and what its answer means. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from importlib.resources import files
from typing import Final

from logic.plan import Call, idempotency_key
from protocol.envelope import Broadcast, UserPush, encode, encode_room_push, room_push_parts
from protocol.partitions import channel, room_key
from runtime.redis import Script, ScriptCall

ROOM_LIFE_MS: Final = 24 * 3600 * 1000
"""How long a room without a push keeps its sequence. After that it begins a new epoch, which costs clients a rejoin."""


def _script(name: str) -> Script:
    return Script(files("logic").joinpath("scripts", f"{name}.lua").read_text("utf-8"))


PUBLISH: Final = _script("publish")
DIRECT: Final = _script("direct")


class Outcome(IntEnum):
    """The first number of both scripts' answers."""

    PUBLISHED = 0
    REPLAYED = 1
    CONFLICT = 2


@dataclass(frozen=True, slots=True)
class Published:
    """What became of a call. `envelope` is what Redis published and the links carry, byte for byte.

    `receivers` is how many subscribers Redis says it gave it to, when it was first published.
    """

    outcome: Outcome
    epoch: int
    first_seq: int
    receivers: int
    envelope: bytes


class RoomCall:
    """Messages for a room. The envelope is in two parts until Redis has said what stands between them."""

    __slots__ = ("_head", "_tail", "call")

    def __init__(self, call: Call, ts_ms: int) -> None:
        room = call.first.room
        assert room is not None, "the planner keeps direct pushes apart"
        self.call = call
        self._head, self._tail = room_push_parts(room, ts_ms, call.count, call.block())

    def script_call(self, command: str) -> ScriptCall:
        """Return the run of publish.lua; `command` is PUBLISH, SPUBLISH or nothing."""
        push = self.call.first
        assert push.room is not None, "checked when this was made"
        args = (command, channel(push.partition), self.call.count, self._head, self._tail, ROOM_LIFE_MS)
        if push.idempotency is None:
            return ScriptCall(PUBLISH, (room_key(push.room),), args)
        keys = (room_key(push.room), idempotency_key(push, push.idempotency))
        return ScriptCall(PUBLISH, keys, (*args, push.idempotency.fingerprint, push.idempotency.life_s * 1000))

    def published(self, answer: Sequence[int]) -> Published:
        """Read the script's answer."""
        outcome, epoch, first_seq, receivers = answer
        envelope = b"" if outcome == Outcome.CONFLICT else encode_room_push(self._head, epoch, first_seq, self._tail)
        return Published(Outcome(outcome), epoch, first_seq, receivers, envelope)


class DirectCall:
    """Messages for a user or everybody, known to gateways by the publishing instance and its counter."""

    __slots__ = ("_counter", "_instance", "_ts_ms", "call")

    def __init__(self, call: Call, ts_ms: int, instance: int, counter: int) -> None:
        self.call = call
        self._ts_ms = ts_ms
        self._instance = instance
        self._counter = counter

    def script_call(self, command: str) -> ScriptCall:
        """Return the run of direct.lua; `command` is PUBLISH, SPUBLISH or nothing."""
        push = self.call.first
        name = channel(push.partition)
        envelope = self._envelope(self._instance, self._counter) if command else b""
        args = (command, name, envelope, self._instance, self._counter)
        if push.idempotency is None:
            return ScriptCall(DIRECT, (name,), args)
        fingerprint, life_ms = push.idempotency.fingerprint, push.idempotency.life_s * 1000
        return ScriptCall(DIRECT, (idempotency_key(push, push.idempotency),), (*args, fingerprint, life_ms))

    def published(self, answer: tuple[int, bytes, bytes, int]) -> Published:
        """Read the script's answer. A replay is known to gateways as what it was the first time."""
        outcome, instance, counter, receivers = answer
        envelope = b"" if outcome == Outcome.CONFLICT else self._envelope(int(instance), int(counter))
        return Published(Outcome(outcome), 0, 0, receivers, envelope)

    def _envelope(self, instance: int, counter: int) -> bytes:
        push = self.call.first
        block = self.call.block()
        if push.user is None:
            return encode(Broadcast(instance, counter, self._ts_ms, push.count, block))
        return encode(UserPush(push.user, instance, counter, self._ts_ms, push.count, block))

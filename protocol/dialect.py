"""What every client dialect has in common: typed commands and replies, and the interface of a dialect.

A new wire format is one module with one class that satisfies `Dialect`; gateway code knows commands and replies only.
"""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from protocol.codes import ErrorCode
from protocol.errors import RemoteProtocolError
from protocol.names import Room

Ref = str | int | None
"""A command's own mark, echoed in its answer."""


class CommandError(RemoteProtocolError):
    """A command that cannot be carried out: answered with ERROR, the connection stays."""

    def __init__(self, code: ErrorCode, message: str, ref: Ref = None) -> None:
        super().__init__(message)
        self.code = code
        self.ref = ref


class Ping(msgspec.Struct, frozen=True):
    """Heartbeat, answered with Pong."""


class Auth(msgspec.Struct, frozen=True):
    """Authenticate with a token, answered with Ack that names the user."""

    token: str
    ref: Ref = None


class Join(msgspec.Struct, frozen=True):
    """Join a room; with `since` (and its `epoch`), resume after that sequence."""

    room: Room
    since: int | None = None
    epoch: int | None = None
    ref: Ref = None


class Leave(msgspec.Struct, frozen=True):
    """Leave a room, answered with Left."""

    room: Room
    ref: Ref = None


class Send(msgspec.Struct, frozen=True):
    """The viewer's own message; `data` is its JSON as sent."""

    room: Room
    data: bytes
    ref: Ref = None


Command = Ping | Auth | Join | Leave | Send


class User(msgspec.Struct, frozen=True, kw_only=True):
    """The identity a connection has, as its client is told."""

    id: str
    name: str = ""
    role: str = "viewer"


class Pong(msgspec.Struct, frozen=True, tag="PONG"):
    """Answer to Ping."""


class Joined(msgspec.Struct, frozen=True, omit_defaults=True, tag="JOINED"):
    """Answer to Join: everything with a sequence above `seq` will be delivered; `epoch` 0 means no message yet."""

    room: str
    seq: int = msgspec.field(default_factory=int)
    epoch: int = msgspec.field(default_factory=int)
    online: int = msgspec.field(default_factory=int)
    recovered: bool = msgspec.field(default_factory=bool)
    ref: Ref = None


class Left(msgspec.Struct, frozen=True, omit_defaults=True, tag="LEFT"):
    """Answer to Leave."""

    room: str
    ref: Ref = None


class Ack(msgspec.Struct, frozen=True, omit_defaults=True, tag="ACK"):
    """Answer to Send (`seq`) or Auth (`user`)."""

    ref: Ref = None
    seq: int | None = None
    user: User | None = None


class Error(msgspec.Struct, frozen=True, omit_defaults=True, tag="ERROR"):
    """Answer to a command that failed."""

    code: ErrorCode
    message: str
    ref: Ref = None


class Shed(msgspec.Struct, frozen=True, tag="SHED"):
    """How many messages of a room were dropped for this viewer since the last notice."""

    room: str
    count: int


class Online(msgspec.Struct, frozen=True, tag="ONLINE"):
    """How many viewers the room has over all gateways."""

    room: str
    count: int


class GoAway(msgspec.Struct, frozen=True, tag="GOAWAY"):
    """The gateway leaves: come back after this many milliseconds."""

    reason: str
    reconnect_after_ms: int


Reply = Pong | Joined | Left | Ack | Error | Shed | Online | GoAway


class Dialect(Protocol):
    """One client wire format. Implementations are stateless; one instance serves every connection."""

    @property
    def name(self) -> str:
        """Short name for metrics and settings."""

    def decode_command(self, payload: bytes) -> Command:
        """Decode one client message; raise CommandError with a code and a text that names the field."""

    def encode_reply(self, reply: Reply) -> bytes:
        """Encode anything that is not a batch, ready to be written to a socket."""

    def encode_room_batch(self, room: str, items: Sequence[bytes], seq: int, epoch: int) -> bytes:
        """Encode one batch of a room, ready to be written to any number of sockets. `seq` is its last sequence."""

    def encode_direct_batch(self, to: str, items: Sequence[bytes]) -> bytes:
        """Encode messages that belong to no room: `to` is `all` (broadcast) or `user`."""

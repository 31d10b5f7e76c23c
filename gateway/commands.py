"""What each client command does. Every command is answered; a wrong one with ERROR, and the connection stays."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

import msgspec

from gateway.connection import Connection
from gateway.hub import Hub
from gateway.identity import Identity, TokenVerifier, guest
from gateway.metrics import Counters
from protocol.codes import CloseCode, ErrorCode
from protocol.dialect import Ack, Auth, Command, CommandError, Error, Join, Leave, Ping, Pong, Ref, Send
from protocol.envelope import SubmitResult
from protocol.limits import ROOMS_PER_CONNECTION
from runtime.rate import TokenBucket

SENDS_PER_SECOND: Final = 2.0
"""A viewer's own danmaku, per connection: faster is not typed by hand."""

ERRORS_MAX: Final = 100
"""Commands that make no sense, per connection, before it is closed: a client that loops on a mistake."""

_MISTAKES: Final = frozenset(
    {ErrorCode.JSON_INVALID, ErrorCode.TYPE_UNKNOWN, ErrorCode.FIELD_INVALID, ErrorCode.ROOM_INVALID}
)

Answer = Callable[[SubmitResult], None]


class Submitting(Protocol):
    """Passes a viewer's own message up to a logic."""

    def submit(self, room: str, identity: bytes, data: bytes, answer: Answer) -> None:
        """Send it up; `answer` is called once, with the result or an error, within a bounded time."""


class Commands:
    """Carries out commands for every connection of a gateway."""

    def __init__(
        self, hub: Hub, verifier: TokenVerifier, upstream: Submitting, counters: Counters, *, anonymous: bool
    ) -> None:
        self._hub = hub
        self._verifier = verifier
        self._upstream = upstream
        self._counters = counters
        self._anonymous = anonymous
        # Each action takes the one command type it stands behind.
        self._actions: dict[type, Callable[[Connection, Any], None]] = {
            Ping: self._ping,
            Auth: self._auth,
            Join: self._join,
            Leave: self._leave,
            Send: self._send,
        }

    def receive(self, connection: Connection, payload: bytes) -> None:
        """Carry out one client message and answer it."""
        try:
            command = connection.dialect.decode_command(payload)
        except CommandError as error:
            self._refuse(connection, error, error.ref)
            return
        self._counters.count(self._counters.commands, type(command).__name__)
        self._carry_out(connection, command)

    def authenticate(self, connection: Connection, token: str) -> None:
        """Give a connection the identity in its token; raise CommandError when the token is refused."""
        identity = self._verifier.verify(token)
        self._hub.unidentify(connection)
        connection.identity = identity
        self._hub.identify(connection)

    def _carry_out(self, connection: Connection, command: Command) -> None:
        try:
            self._actions[type(command)](connection, command)
        except CommandError as error:
            self._refuse(connection, error, getattr(command, "ref", None))

    def _refuse(self, connection: Connection, error: CommandError, ref: Ref) -> None:
        self._counters.count(self._counters.command_errors, error.code)
        connection.send(connection.dialect.encode_reply(Error(error.code, str(error), ref)))
        if error.code in _MISTAKES:
            connection.errors += 1
            if connection.errors >= ERRORS_MAX:
                connection.close(CloseCode.TOO_MANY_ERRORS, f"{ERRORS_MAX} commands made no sense")

    def _ping(self, connection: Connection, _: object) -> None:
        connection.send(connection.dialect.encode_reply(Pong()))

    def _auth(self, connection: Connection, command: Auth) -> None:
        self.authenticate(connection, command.token)
        assert connection.identity is not None, "just authenticated"
        connection.send(connection.dialect.encode_reply(Ack(command.ref, None, connection.identity.as_user())))

    def _join(self, connection: Connection, command: Join) -> None:
        if not self._anonymous and connection.identity is None:
            raise CommandError(ErrorCode.UNAUTHENTICATED, "JOIN needs an authenticated connection: send AUTH first")
        rooms = {*connection.rooms, *self._hub.joining(connection)}
        if command.room not in rooms and len(rooms) >= ROOMS_PER_CONNECTION:
            text = f"room: this connection is in {ROOMS_PER_CONNECTION} rooms, which is the limit; leave one first"
            raise CommandError(ErrorCode.TOO_MANY_ROOMS, text)
        self._hub.join(connection, command.room, command.ref)

    def _leave(self, connection: Connection, command: Leave) -> None:
        if self._hub.defer(connection, command.room, partial(self._carry_out, connection, command)):
            return
        self._check_joined(connection, command.room)
        self._hub.leave(connection, command.room, command.ref)

    def _send(self, connection: Connection, command: Send) -> None:
        if self._hub.defer(connection, command.room, partial(self._carry_out, connection, command)):
            return
        self._check_joined(connection, command.room)
        self._check_rate(connection)
        identity = self._identity(connection)

        def answer(result: SubmitResult) -> None:
            if result.code:
                error = Error(ErrorCode(result.code), result.message, command.ref)
                self._counters.count(self._counters.command_errors, result.code)
                connection.send(connection.dialect.encode_reply(error))
            else:
                connection.send(connection.dialect.encode_reply(Ack(command.ref, result.seq)))

        self._upstream.submit(command.room, msgspec.json.encode(identity), command.data, answer)

    def _check_joined(self, connection: Connection, room: str) -> None:
        if room not in connection.rooms:
            raise CommandError(ErrorCode.ROOM_NOT_JOINED, f"room: this connection has not joined {room}")

    def _check_rate(self, connection: Connection) -> None:
        if connection.send_budget is None:
            connection.send_budget = TokenBucket(connection.heard_at, SENDS_PER_SECOND)
        if not connection.send_budget.allow(self._hub.now(), SENDS_PER_SECOND, SENDS_PER_SECOND):
            text = f"SEND: at most {SENDS_PER_SECOND:g} a second on one connection"
            raise CommandError(ErrorCode.RATE_LIMITED, text)

    def _identity(self, connection: Connection) -> Identity:
        if connection.identity is None:
            # Kept for the connection's life, so that all it says comes from one guest.
            connection.identity = guest()
            self._hub.identify(connection)
        return connection.identity

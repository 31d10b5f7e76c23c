"""What can go wrong on a WebSocket connection, as types that carry what to answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from protocol.errors import RemoteProtocolError

if TYPE_CHECKING:
    from protocol.websocket.receiver import Event


class RemoteWebSocketError(RemoteProtocolError):
    """The peer's frames broke RFC 6455 or one of our limits; the connection must be failed (section 7.1.7).

    `close_code` is what to send in our Close frame: 1002 protocol, 1007 bad UTF-8, 1009 too big.
    `events` are the events that the same bytes completed before the fault; they are valid and count.
    """

    def __init__(self, close_code: int, message: str) -> None:
        super().__init__(message)
        self.close_code = close_code
        self.message = message
        self.events: Sequence[Event] = ()


class RemoteHttpError(RemoteProtocolError):
    """The client's request cannot be served: send `error_response(status, message, headers)`, then close."""

    def __init__(self, status: int, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = tuple(headers)


class RemoteHandshakeError(RemoteProtocolError):
    """The server's answer to our opening handshake is a refusal or no valid answer (section 4.1).

    `status` is the status the server sent, or None when its answer was not HTTP at all.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.status = status

"""The close handshake as a transition table, the same for both roles (RFC 6455, sections 1.4, 5.5.1 and 7).

    OPEN --we send Close--> CLOSING --theirs arrives--> CLOSED
    OPEN --theirs arrives--> CLOSE_RECEIVED --we answer--> CLOSED

The shell keeps one State per connection and asks `advance` before it sends and after it received. In CLOSED the
server closes TCP at once and the client waits for it to, so that the server is not left with TIME_WAIT state.
"""

from __future__ import annotations

from enum import Enum
from types import MappingProxyType
from typing import Final

from protocol.codes import CloseCode
from protocol.errors import LocalProtocolError
from protocol.websocket.errors import RemoteWebSocketError
from protocol.websocket.frames import CLOSE_NO_STATUS, Role, encode_close
from protocol.websocket.receiver import Close


class State(Enum):
    """Where a connection stands in the close handshake."""

    OPEN = "open"
    # Our Close is sent; theirs is awaited, with a deadline that is the shell's.
    CLOSING = "closing"
    # Their Close came first; we owe the answer.
    CLOSE_RECEIVED = "close received"
    CLOSED = "closed"


class Action(Enum):
    """What happens to a connection: MESSAGE stands for any frame but Close."""

    SEND_MESSAGE = "send message"
    SEND_CLOSE = "send Close"
    RECEIVE_MESSAGE = "receive message"
    RECEIVE_CLOSE = "receive Close"
    # We fail the connection (section 7.1.7): a last Close frame, if one may still be sent, and no waiting.
    FAIL = "fail"
    LOSE_TRANSPORT = "lose transport"


_RECEIVED: Final = frozenset({Action.RECEIVE_MESSAGE, Action.RECEIVE_CLOSE})

TRANSITIONS: Final = MappingProxyType(
    {
        (State.OPEN, Action.SEND_MESSAGE): State.OPEN,
        (State.OPEN, Action.RECEIVE_MESSAGE): State.OPEN,
        (State.OPEN, Action.SEND_CLOSE): State.CLOSING,
        (State.OPEN, Action.RECEIVE_CLOSE): State.CLOSE_RECEIVED,
        (State.OPEN, Action.FAIL): State.CLOSED,
        (State.OPEN, Action.LOSE_TRANSPORT): State.CLOSED,
        # What was under way when we closed still arrives, and is ignored.
        (State.CLOSING, Action.RECEIVE_MESSAGE): State.CLOSING,
        (State.CLOSING, Action.RECEIVE_CLOSE): State.CLOSED,
        (State.CLOSING, Action.FAIL): State.CLOSED,
        (State.CLOSING, Action.LOSE_TRANSPORT): State.CLOSED,
        (State.CLOSE_RECEIVED, Action.SEND_CLOSE): State.CLOSED,
        (State.CLOSE_RECEIVED, Action.FAIL): State.CLOSED,
        (State.CLOSE_RECEIVED, Action.LOSE_TRANSPORT): State.CLOSED,
        (State.CLOSED, Action.LOSE_TRANSPORT): State.CLOSED,
    }
)


def advance(state: State, action: Action) -> State:
    """The state after the action.

    An action that the table does not have is an error: RemoteWebSocketError (1002) if the peer did it,
    LocalProtocolError if we are about to.
    """
    after = TRANSITIONS.get((state, action))
    if after is not None:
        return after
    message = f"cannot {action.value} when the connection is {state.value}"
    if action in _RECEIVED:
        raise RemoteWebSocketError(CloseCode.PROTOCOL_ERROR, message)
    raise LocalProtocolError(message)


def answer_close(close: Close, *, mask: bytes | None = None) -> bytes:
    """The Close frame that answers the peer's: its code repeated, without the reason (section 5.5.1)."""
    return encode_close(None if close.code == CLOSE_NO_STATUS else close.code, mask=mask)


def closes_transport(state: State, role: Role) -> bool:
    """Whether this role should close TCP now rather than wait for the peer to (section 7.1.1)."""
    return state is State.CLOSED and role is Role.SERVER

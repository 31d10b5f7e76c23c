"""Tests of protocol/websocket/session.py."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.codes import CloseCode
from protocol.errors import LocalProtocolError
from protocol.websocket.errors import RemoteWebSocketError
from protocol.websocket.frames import Role, encode_close
from protocol.websocket.limits import MESSAGE_LIMITS
from protocol.websocket.receiver import Close, receive
from protocol.websocket.session import TRANSITIONS, Action, State, advance, answer_close, closes_transport

EVERY_PAIR = list(product(State, Action))
SENDING = {Action.SEND_MESSAGE: Action.RECEIVE_MESSAGE, Action.SEND_CLOSE: Action.RECEIVE_CLOSE}


@pytest.mark.parametrize(("state", "action"), EVERY_PAIR, ids=str)
def test_every_pair_is_judged(state: State, action: Action) -> None:
    """Every action in every state leads to the table's state or is an error that says whose fault it is."""
    if (state, action) in TRANSITIONS:
        assert advance(state, action) is TRANSITIONS[state, action]
        return
    with pytest.raises((LocalProtocolError, RemoteWebSocketError), match=state.value) as caught:
        advance(state, action)
    if isinstance(caught.value, RemoteWebSocketError):
        assert action in SENDING.values()
        assert caught.value.close_code == CloseCode.PROTOCOL_ERROR
    else:
        assert action not in SENDING.values()


def _sent_close(state: State) -> bool:
    return state in (State.CLOSING, State.CLOSED)


@pytest.mark.parametrize("state", State, ids=str)
def test_rules_of_the_close_handshake(state: State) -> None:
    """One Close each way, nothing after one's own, and every state can end."""
    allowed = {action for pair_state, action in TRANSITIONS if pair_state is state}
    assert (Action.SEND_CLOSE in allowed) == (not _sent_close(state))
    assert (Action.SEND_MESSAGE in allowed) == (state is State.OPEN)
    assert (Action.RECEIVE_CLOSE in allowed) == (state in (State.OPEN, State.CLOSING))
    assert (Action.FAIL in allowed) == (state is not State.CLOSED)
    assert advance(state, Action.LOSE_TRANSPORT) is State.CLOSED


def test_closed_is_final() -> None:
    """Nothing leads out of CLOSED, and everything else is reached from OPEN."""
    assert {after for (state, _), after in TRANSITIONS.items() if state is State.CLOSED} == {State.CLOSED}
    assert {after for (state, _), after in TRANSITIONS.items() if state is State.OPEN} == set(State)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["send", "close", "deliver"]))))
def test_two_ends_never_break_the_rules_of_each_other(steps: list[tuple[int, str]]) -> None:
    """Two ends that ask the table before sending agree on every state, whoever closes first, or both at once."""
    states = [State.OPEN, State.OPEN]
    wires: tuple[list[Action], list[Action]] = ([], [])
    for end, step in [*steps, (0, "close"), (1, "close"), *[(0, "deliver"), (1, "deliver")] * (len(steps) + 2)]:
        if step == "deliver":
            if wires[end] and states[end] is not State.CLOSED:
                states[end] = advance(states[end], wires[end].pop(0))
            continue
        action = Action.SEND_CLOSE if step == "close" else Action.SEND_MESSAGE
        if (states[end], action) in TRANSITIONS:
            states[end] = advance(states[end], action)
            wires[1 - end].append(SENDING[action])
    assert states == [State.CLOSED, State.CLOSED]


@pytest.mark.parametrize(
    ("close", "answer"),
    [
        (Close(1000, "bye"), encode_close(1000)),
        (Close(4001, ""), encode_close(4001)),
        (Close(1005, ""), encode_close()),
    ],
)
def test_answer_repeats_the_code(close: Close, answer: bytes) -> None:
    """A Close is answered by its own code, an empty one by an empty one."""
    assert answer_close(close) == answer
    masked = answer_close(close, mask=b"abcd")
    events, _ = receive(masked, None, role=Role.SERVER, limits=MESSAGE_LIMITS)
    assert events == [Close(close.code, "")]


def test_the_server_closes_tcp() -> None:
    """Only the server, and only once closed, closes TCP without waiting (section 7.1.1)."""
    closing = [(state, role) for state, role in product(State, Role) if closes_transport(state, role)]
    assert closing == [(State.CLOSED, Role.SERVER)]

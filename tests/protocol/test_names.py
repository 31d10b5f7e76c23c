"""The grammar of room names and user ids."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codes import ErrorCode
from protocol.limits import ROOM_NAME_MAX_BYTES, USER_ID_MAX_BYTES
from protocol.names import NameInvalid, parse_room, parse_user_id

ROOM_ALPHABET = string.ascii_letters + string.digits + "_.:/-"


@given(st.text(ROOM_ALPHABET, min_size=1, max_size=ROOM_NAME_MAX_BYTES))
def test_names_within_the_grammar(name: str) -> None:
    """Every room name is also a user id, and both come back unchanged."""
    assert parse_room(name) == name
    assert parse_user_id(name) == name


@given(st.text(max_size=10).filter(lambda text: not text or set(text) - set(ROOM_ALPHABET)))
def test_names_outside_the_grammar(name: str) -> None:
    """Any other character is refused, non-ASCII letters and digits included, with the code and the limit."""
    with pytest.raises(NameInvalid, match=f"room: must be 1 to {ROOM_NAME_MAX_BYTES} characters") as caught:
        parse_room(name)
    assert caught.value.code is ErrorCode.ROOM_INVALID


def test_users_may_be_addresses() -> None:
    """A user id may hold an @, a room name may not."""
    assert parse_user_id("anna@example.org") == "anna@example.org"
    with pytest.raises(NameInvalid):
        parse_room("anna@example.org")


@pytest.mark.parametrize("bad", ["", "x" * (USER_ID_MAX_BYTES + 1), "a b", "用户", "a\n", "\n"])
def test_user_ids_outside_the_grammar(bad: str) -> None:
    """A user id outside the grammar has a code of its own."""
    with pytest.raises(NameInvalid, match=f"user: must be 1 to {USER_ID_MAX_BYTES} characters") as caught:
        parse_user_id(bad)
    assert caught.value.code is ErrorCode.USER_INVALID


def test_a_room_name_is_limited() -> None:
    """The longest room name has 128 bytes."""
    assert parse_room("r" * 128)
    with pytest.raises(NameInvalid):
        parse_room("r" * 129)

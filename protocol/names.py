"""The grammar of room names and user ids."""

import re
from typing import Final, NewType

from protocol.codes import ErrorCode
from protocol.errors import RemoteProtocolError
from protocol.limits import ROOM_NAME_MAX_BYTES, USER_ID_MAX_BYTES

Room = NewType("Room", str)
UserId = NewType("UserId", str)

_ROOM: Final = re.compile(rf"[A-Za-z0-9_.:/-]{{1,{ROOM_NAME_MAX_BYTES}}}")
_USER: Final = re.compile(rf"[A-Za-z0-9_.:@/-]{{1,{USER_ID_MAX_BYTES}}}")


class NameInvalid(RemoteProtocolError):
    """A room name or user id outside the grammar; `code` says which, the text names the limit."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def parse_room(text: str) -> Room:
    """Return the name when it is 1 to 128 bytes of `[A-Za-z0-9_.:/-]`; raise NameInvalid otherwise."""
    if _ROOM.fullmatch(text) is None:
        raise NameInvalid(
            ErrorCode.ROOM_INVALID,
            f"room: must be 1 to {ROOM_NAME_MAX_BYTES} characters of A-Z a-z 0-9 _ . : / -",
        )
    return Room(text)


def parse_user_id(text: str) -> UserId:
    """Return the id when it is 1 to 128 bytes of `[A-Za-z0-9_.:@/-]`; raise NameInvalid otherwise."""
    if _USER.fullmatch(text) is None:
        raise NameInvalid(
            ErrorCode.USER_INVALID,
            f"user: must be 1 to {USER_ID_MAX_BYTES} characters of A-Z a-z 0-9 _ . : @ / -",
        )
    return UserId(text)

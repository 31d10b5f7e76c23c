"""Every size and count limit of the wire, with the reason for its value.

Limits that an operator may change are settings whose defaults stand here; the others are part of the contract
between tiers and clients.
"""

from typing import Final

ROOM_NAME_MAX_BYTES: Final = 128
"""Long enough for a URL-like name (`live://…`), short enough to fit a one-byte length on the wire."""

USER_ID_MAX_BYTES: Final = 128
"""The same reason as for room names."""

DATA_MAX_BYTES: Final = 16 * 1024
"""One message's JSON. A superchat with avatars and links stays below 4 KiB; more belongs behind a link."""

PUSH_MAX_MESSAGES: Final = 1_000
"""Messages in one push: one Redis script call stays well below a millisecond."""

PUSH_MAX_BYTES: Final = 1024 * 1024
"""One push's body: bounds what one call can make a logic hold."""

ENVELOPE_MAX_BYTES: Final = PUSH_MAX_BYTES + 8 * PUSH_MAX_MESSAGES + 1024
"""One tier envelope: a full push and its framing."""

FRAME_MAX_BYTES: Final = 128 * 1024
"""One client frame: half of a viewer's outbox, so that one frame never condemns a viewer. Larger batches are split."""

COMMAND_MAX_BYTES: Final = 32 * 1024
"""One client message: a SEND with the largest data and generous room for escapes."""

ROOMS_PER_CONNECTION: Final = 64
"""Rooms one connection may be in. Real pages need fewer than ten."""

OUTBOX_MAX_BYTES: Final = 256 * 1024
"""Bytes queued for a viewer that reads too slowly: about two seconds of a busy room."""

REF_MAX_CHARS: Final = 64
"""A command's `ref`, in characters, echoed in its answer: large enough for a UUID."""

NAME_MAX_CHARS: Final = 32
"""A viewer's display name, in characters."""

DANMAKU_MAX_CHARS: Final = 100
"""Characters of a viewer's own danmaku: what fits on a screen in one line. An operator may change it."""

HEARTBEAT_S: Final = 25.0
"""Silence after which the gateway sends a ping: below the 30 s at which the strictest proxies cut an idle stream."""

IDLE_TIMEOUT_S: Final = 60.0
"""Silence after which a connection is closed: two pings unanswered."""

HANDSHAKE_TIMEOUT_S: Final = 10.0
"""Time from accept to a complete request head: a slow phone needs 3 s, a slow-loris attack wants minutes."""

MAX_INTEGER: Final = 2**53 - 1
"""The largest integer a browser's JSON parser keeps exact (RFC 8259, section 6): the bound of `seq` and `epoch`."""

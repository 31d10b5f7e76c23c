"""The limits of the WebSocket layer, each with its default and the reason for it."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.limits import COMMAND_MAX_BYTES


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large the head of an HTTP/1.1 request or response may be, in bytes and lines.

    The head is all that an unknown client can make us remember, so `head_bytes` bounds a handshake's memory.
    """

    # A target carries a token in its query; 8 KiB is what common servers and proxies pass on.
    request_line_bytes: int = 8 * 1024
    # One cookie jar or one signed token fits; nothing sensible is larger.
    header_line_bytes: int = 8 * 1024
    # Request line, header lines and the closing empty line together.
    head_bytes: int = 16 * 1024
    # Browsers behind several proxies send about 30.
    header_lines: int = 64


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """How large one incoming message may be, over all its fragments.

    Compressed messages are held to the same limit twice: as they travel, and once inflated.
    """

    # What a client sends is one command; see protocol/limits.py.
    max_message_bytes: int = COMMAND_MAX_BYTES


HEAD_LIMITS = HeadLimits()
MESSAGE_LIMITS = MessageLimits()

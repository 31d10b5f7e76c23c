"""Why a stream could not be opened."""

from __future__ import annotations


class Http2Error(Exception):
    """Root of what this package raises."""


class ConnectFailed(Http2Error):
    """Nobody there, not HTTP/2, or no answer in time; try again later."""


class StreamRefused(Http2Error):
    """The server answered with another status than 200; `message` is the beginning of what it said."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status} {message}".strip())
        self.status = status
        self.message = message

"""What can go wrong with Redis, in two words: it cannot be reached, or it said no."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import hiredis
from redis import exceptions as library


class RedisError(Exception):
    """Root of what this package raises; `code` is a short stable word for metrics and problem documents."""

    code = "ERR"


class RedisUnavailable(RedisError):
    """No answer: the connection failed, timed out or broke.

    A command that was under way may or may not have been executed. Repeat it only if it is idempotent.
    """

    code = "UNAVAILABLE"


class RedisRejected(RedisError):
    """Redis answered with an error; the command had no effect (a script: no effect after its failing line).

    `code` is the first word of Redis's answer (`ERR`, `OOM`, `READONLY`, or a script's own). `temporary`
    says whether the same command may succeed later without anybody changing it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code} {message}")
        self.code = code
        self.temporary = code in TEMPORARY_CODES


# Answers that a healthy deployment gives while it starts, fails over, or is short of memory.
TEMPORARY_CODES = frozenset(
    (
        "LOADING",
        "READONLY",
        "MASTERDOWN",
        "CLUSTERDOWN",
        "TRYAGAIN",
        "BUSY",
        "OOM",
        "MISCONF",
        "NOREPLICAS",
        "UNKILLABLE",
    )
)

# redis-py cuts the code off the answers it has classes for; this puts it back. Subclasses come first.
_CODES: dict[type[Exception], str] = {
    library.NoScriptError: "NOSCRIPT",
    library.OutOfMemoryError: "OOM",
    library.ReadOnlyError: "READONLY",
    library.NoPermissionError: "NOPERM",
    library.ExecAbortError: "EXECABORT",
    library.MasterDownError: "MASTERDOWN",
    library.ClusterDownError: "CLUSTERDOWN",
    library.TryAgainError: "TRYAGAIN",
    library.ClusterCrossSlotError: "CROSSSLOT",
    library.MovedError: "MOVED",
    library.AskError: "ASK",
}

# The one dictionary from foreign exceptions to ours; the first match in this order decides.
_UNAVAILABLE: tuple[type[Exception], ...] = (
    library.ConnectionError,
    library.TimeoutError,
    library.InvalidResponse,
    hiredis.ProtocolError,
    OSError,
    EOFError,
    TimeoutError,
)
_MAPPING: dict[tuple[type[Exception], ...], type[RedisError]] = {
    (library.AuthenticationError, library.AuthorizationError): RedisRejected,
    _UNAVAILABLE: RedisUnavailable,
    (library.RedisError, hiredis.HiredisError): RedisRejected,
}


def translated(error: Exception) -> RedisError | None:
    """Return our error for one of redis-py's, hiredis's or the system's; None for what is none of these."""
    for kinds, ours in _MAPPING.items():
        if isinstance(error, kinds):
            if ours is RedisRejected:
                return rejected(error)
            return RedisUnavailable(str(error) or type(error).__name__)
    return None


def rejected(error: Exception) -> RedisRejected:
    """Return the rejection for an error answer of Redis, with its code."""
    text = str(error)
    for kind, code in _CODES.items():
        if isinstance(error, kind):
            return RedisRejected(code, text)
    word, _, rest = text.partition(" ")
    return RedisRejected(word, rest) if word.isupper() else RedisRejected("ERR", text)


@contextmanager
def redis_errors() -> Iterator[None]:
    """Translate what the block raises; other exceptions (cancellation, our bugs) pass."""
    try:
        yield
    except Exception as error:
        ours = translated(error)
        if ours is None:
            raise
        raise ours from error

"""The one timer of all connections: a sweep that looks at a few buckets at a time, for what the clock decides.

No connection has a timer of its own. Every bucket is looked at once in `SWEEP_S`, so a decision comes at most that
much late, and costs an idle connection a few nanoseconds a second and no memory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from gateway.bucket import Bucket
from gateway.connection import Connection
from protocol.codes import CloseCode
from protocol.dialect import Dialect
from protocol.websocket.frames import PING_FRAME

SWEEP_S: Final = 2.0
"""How long a whole round takes."""

CLOSING_S: Final = 5.0
"""How long a connection may take to answer our Close before it is cut."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a silent or stuck connection is put up with, in seconds."""

    ping_s: float
    idle_s: float
    stuck_s: float


class Sweep:
    """Walks over the buckets, round and round."""

    def __init__(self, buckets: list[Bucket], dialects: Iterable[Dialect], patience: Patience) -> None:
        self._buckets = buckets
        self._dialects = [dialect.name for dialect in dialects]
        self._patience = patience
        self._closing: dict[Connection, float] = {}
        self._position = 0.0

    def closing(self, connection: Connection, now: float) -> None:
        """Give a connection that we asked to close a deadline."""
        self._closing[connection] = now + CLOSING_S

    def closed(self, connection: Connection) -> bool:
        """Forget a connection; True when it was closing."""
        return self._closing.pop(connection, None) is not None

    def cut(self) -> None:
        """Cut every connection that is still closing."""
        for connection in list(self._closing):
            connection.transport.abort()

    def step(self, now: float, elapsed_s: float) -> None:
        """Look at the share of the buckets that `elapsed_s` seconds stand for."""
        count = len(self._buckets)
        start = int(self._position)
        self._position += min(elapsed_s / SWEEP_S, 1.0) * count
        for index in range(start, int(self._position)):
            for dialect in self._dialects:
                for connection in self._buckets[index % count].connections(dialect):
                    self._look_at(connection, now)
        self._position %= count
        for connection, deadline in list(self._closing.items()):
            if deadline <= now:
                connection.transport.abort()

    def _look_at(self, connection: Connection, now: float) -> None:
        silent_s = now - connection.heard_at
        outbox = connection.outbox
        if outbox is not None and now - outbox.progress_at > self._patience.stuck_s:
            connection.close(CloseCode.STUCK, f"the socket took nothing for {self._patience.stuck_s:g} s")
        elif silent_s > self._patience.idle_s:
            connection.close(CloseCode.IDLE, f"nothing was heard for {self._patience.idle_s:g} s")
        elif silent_s > self._patience.ping_s and not connection.pinged:
            connection.pinged = True
            connection.send(PING_FRAME)


def unique_dialects(by_path: Mapping[str, Dialect]) -> dict[str, Dialect]:
    """Return the dialects by name: several paths may speak the same one."""
    return {dialect.name: dialect for dialect in by_path.values()}

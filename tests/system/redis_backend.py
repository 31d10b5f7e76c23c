"""A real Redis for whole-platform tests: a container where a Docker engine answers, else a local server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from tests.redis_server import RedisServer

IMAGE = os.environ.get("TEST_REDIS_IMAGE", "redis:7")
PULL_S = 60.0
"""How long Docker may take to answer or to get the image; after that the local server does."""


@cache
def docker_has_image() -> bool:
    """Whether a Docker engine answers and has the image, or can get it. Asked once a run."""
    if shutil.which("docker") is None or not _docker("info"):
        return False
    return _docker("image", "inspect", IMAGE) or _docker("pull", "--quiet", IMAGE)


def _docker(*arguments: str) -> bool:
    try:
        return subprocess.run(["docker", *arguments], capture_output=True, timeout=PULL_S, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@contextmanager
def running_redis() -> Iterator[str]:
    """Yield the URL of a Redis that is empty and ends with the block."""
    if docker_has_image():
        from testcontainers.community.redis import RedisContainer

        with RedisContainer(IMAGE) as container:
            yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"
        return
    server = RedisServer()
    server.start()
    try:
        yield server.url
    finally:
        server.stop()

"""A real Redis for whole-platform tests: a container where a Docker engine answers, else a local server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from tests.redis_server import RedisServer

IMAGE = os.environ.get("TEST_REDIS_IMAGE", "redis:7")


def docker_has_image() -> bool:
    """Whether a Docker engine answers and has the image, so that nothing needs to be pulled in a test."""
    if shutil.which("docker") is None:
        return False
    command = ["docker", "image", "inspect", IMAGE]
    try:
        return subprocess.run(command, capture_output=True, timeout=10, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@contextmanager
def running_redis() -> Iterator[str]:
    """Yield the URL of a Redis that is empty and ends with the block."""
    if docker_has_image():
        from testcontainers.redis import RedisContainer

        with RedisContainer(IMAGE) as container:
            yield f"redis://{container.get_container_host_ip()}:{container.get_exposed_port(6379)}/0"
        return
    server = RedisServer()
    server.start()
    try:
        yield server.url
    finally:
        server.stop()

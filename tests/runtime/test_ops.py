"""The operations endpoints, asked over a real socket."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter

from runtime.lifecycle import StartError
from runtime.ops import OpsServer, Readiness


@pytest.fixture
def readiness() -> Readiness:
    """Return a state without dependencies."""
    return Readiness()


@pytest.fixture
async def ops(readiness: Readiness) -> AsyncIterator[OpsServer]:
    """Run a server on a free port."""
    registry = CollectorRegistry()
    Counter("demo_events", "Events.", registry=registry).inc(3)
    server = OpsServer(
        "127.0.0.1", 0, registry=registry, readiness=readiness, stats=lambda: {"events": 3, "by": {1: 2}}
    )
    await server.start()
    yield server
    await server.stop()


async def get(ops: OpsServer, path: str) -> tuple[int, str, str]:
    """Return status, content type and body."""
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{ops.port}{path}") as response:
        return response.status, response.headers["Content-Type"], await response.text()


def test_readiness_needs_every_dependency(readiness: Readiness) -> None:
    """Ready is: every dependency that was mentioned is well, and not draining."""
    seen = [readiness.ready]
    readiness.set("store", True)
    readiness.set("peers", False, "none found")
    seen.append(readiness.ready)
    readiness.set("peers", True)
    seen.append(readiness.ready)
    readiness.draining = True
    seen.append(readiness.ready)
    assert seen == [True, False, True, False]


async def test_livez_is_always_200(ops: OpsServer, readiness: Readiness) -> None:
    """A process that runs is alive, whatever its dependencies and though it drains."""
    readiness.set("store", False)
    readiness.draining = True
    assert (await get(ops, "/livez"))[0] == 200


async def test_readyz_names_what_is_missing(ops: OpsServer, readiness: Readiness) -> None:
    """/readyz is 503 with the dependency and its detail, and 200 once it is well."""
    readiness.set("store", False, "refused")
    status, _, text = await get(ops, "/readyz")
    assert status == 503
    assert '"store":{"ok":false,"detail":"refused"}' in text
    readiness.set("store", True)
    status, _, text = await get(ops, "/readyz")
    assert (status, '"ready":true' in text) == (200, True)


async def test_metrics_are_prometheus_text(ops: OpsServer) -> None:
    """/metrics shows the registry that was given, in a format Prometheus knows."""
    status, content_type, text = await get(ops, "/metrics")
    assert status == 200
    assert content_type.startswith("text/plain; version=")
    assert "demo_events_total 3.0" in text


async def test_stats_are_json(ops: OpsServer) -> None:
    """/stats is what the process says of itself, as JSON."""
    assert await get(ops, "/stats") == (200, "application/json", '{"events":3,"by":{"1":2}}\n')


async def test_a_taken_port_is_named() -> None:
    """A port that is in use fails the start with a sentence that names it."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        server = OpsServer("127.0.0.1", port, registry=CollectorRegistry(), readiness=Readiness(), stats=dict)
        with pytest.raises(StartError, match=rf"127\.0\.0\.1:{port}: Address already in use"):
            await server.start()
        await server.stop()

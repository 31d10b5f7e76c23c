"""The operators' side door of a process: is it alive, is it ready, what are its numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import orjson
from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from runtime.lifecycle import listening

# A scrape that is under way when the process stops gets this long to finish.
SHUTDOWN_S = 1.0


@dataclass(frozen=True, slots=True)
class Dependency:
    """One thing the process needs in order to be of use."""

    ok: bool
    detail: str = ""


class Readiness:
    """Whether work should be sent to this process: every dependency is well, and it is not leaving."""

    def __init__(self) -> None:
        self._dependencies: dict[str, Dependency] = {}
        self.draining = False

    def __repr__(self) -> str:
        down = [name for name, dependency in self._dependencies.items() if not dependency.ok]
        return f"<Readiness ready={self.ready} draining={self.draining} down={down}>"

    def set(self, name: str, ok: bool, detail: str = "") -> None:
        """Record the state of a dependency; one that was never mentioned does not count."""
        self._dependencies[name] = Dependency(ok, detail)

    @property
    def ready(self) -> bool:
        """True when not draining and every dependency is well."""
        return not self.draining and all(item.ok for item in self._dependencies.values())

    def snapshot(self) -> dict[str, object]:
        """Return the state as JSON-ready values: ready, draining, and each dependency by name."""
        return {
            "ready": self.ready,
            "draining": self.draining,
            "dependencies": {name: {"ok": item.ok, "detail": item.detail} for name, item in self._dependencies.items()},
        }


class OpsServer:
    """Serves /livez, /readyz, /metrics and /stats on a port of its own.

    * `/livez`: 200 as long as the event loop turns. Not a word about dependencies: restarting this process
      does not mend Redis.
    * `/readyz`: 200 or 503, with the reasons as JSON.
    * `/metrics`: the given registry as Prometheus or OpenMetrics text, whichever the scraper asks for.
    * `/stats`: what `stats` returns, as JSON.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        registry: CollectorRegistry,
        readiness: Readiness,
        stats: Callable[[], dict[str, object]],
    ) -> None:
        self._host = host
        self._requested_port = port
        self._registry = registry
        self._readiness = readiness
        self._stats = stats
        self._runner: web.AppRunner | None = None

    def __repr__(self) -> str:
        return f"<OpsServer {self._host}:{self.port} running={self._runner is not None}>"

    @property
    def port(self) -> int:
        """The port in use; the one asked for until `start` has returned."""
        if self._runner is None or not self._runner.addresses:
            return self._requested_port
        return int(self._runner.addresses[0][1])

    async def start(self) -> None:
        """Listen. Raises `StartError` when the port cannot be had."""
        app = web.Application()
        app.router.add_get("/livez", self._livez)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/stats", self._show_stats)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S)
        await self._runner.setup()
        with listening(self._host, self._requested_port):
            await web.TCPSite(self._runner, self._host, self._requested_port).start()

    async def stop(self) -> None:
        """Close the listener and its connections; harmless when not started."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _livez(self, _request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def _readyz(self, _request: web.Request) -> web.Response:
        return _json(self._readiness.snapshot(), 200 if self._readiness.ready else 503)

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})

    async def _show_stats(self, _request: web.Request) -> web.Response:
        return _json(self._stats(), 200)


def _json(value: object, status: int) -> web.Response:
    body = orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    return web.Response(body=body, status=status, content_type="application/json")

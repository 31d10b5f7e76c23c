"""The logic process: Redis, discovery, links, publisher, push API and ops port, wired and in order."""

import asyncio
import secrets
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry

from k8s.base import Discovery
from k8s.registry import RegistryDiscovery
from k8s.static import StaticDiscovery
from logic.api.app import make_api, make_runner
from logic.api.metrics import ApiMetrics
from logic.api.options import ApiOptions
from logic.counts import RoomCounts
from logic.link import Link, LinkEvents, LinkLimits
from logic.links import LinkOptions, Links
from logic.metrics import LogicMetrics
from logic.moderation import AllowAll, Moderator
from logic.overview import PlatformOverview
from logic.presence import Presence
from logic.publisher import Publisher, PublisherOptions
from logic.settings import LogicSettings
from logic.upstream import SendRules, Upstream
from protocol.envelope import Hello, Submit
from runtime.lifecycle import Background, listening
from runtime.logs import get_logger
from runtime.ops import OpsServer, Readiness
from runtime.redis import RedisError, connect
from runtime.redis.errors import redis_errors

REDIS_CHECK_S: Final = 1.0
"""How soon /readyz notices that Redis went or came, in a logic that has nothing to publish."""

LINK_FAREWELL_S: Final = 1.0
"""How long gateways get to answer the end of a link."""

API_SHARE: Final = 0.5
"""The part of the stop deadline that requests under way may use; the rest is for what they have pushed."""


class LogicService:
    """Implements `runtime.lifecycle.Service`."""

    def __init__(self, settings: LogicSettings, moderator: Moderator | None = None) -> None:
        self._settings = settings
        self._log = get_logger("logic")
        self._readiness = Readiness()
        self._stopping = False
        self._started_at = time.monotonic()
        self.background = Background(self._log)
        registry = CollectorRegistry()
        self._metrics = LogicMetrics(registry)
        self._client = connect(settings.redis_url.get_secret_value(), client_name=f"logic:{settings.name}")
        self._counts = RoomCounts()
        self._presence = Presence(self._counts)
        # Never 0, which stands for "not known yet".
        instance = secrets.randbits(63) | 1
        self._links = Links(_link_options(settings, instance), self._link_events(), self.background)
        self._publisher = Publisher(self._client, self._links, _publisher_options(settings, instance), self._metrics)
        rules = SendRules(requires_auth=settings.send_requires_auth, max_text=settings.send_max_text)
        self._upstream = Upstream(self._publisher, moderator or AllowAll(), rules, self._metrics.tally)
        self._overview = PlatformOverview(self._client, self._counts, self._links, self._metrics)
        self._discovery = self._make_discovery()
        self._runner = self._make_api(ApiMetrics(registry))
        self._ops = OpsServer(
            settings.ops_host, settings.ops_port, registry=registry, readiness=self._readiness, stats=self.stats
        )
        self._links.on_change = self._links_changed
        self._metrics.watch(self._gauges)

    def __repr__(self) -> str:
        return f"<LogicService {self._publisher!r} {self._links!r} {self._readiness!r}>"

    @property
    def api_port(self) -> int:
        """The port of the push API in use; the one of the settings until started."""
        return int(self._runner.addresses[0][1]) if self._runner.addresses else self._settings.port

    @property
    def ops_port(self) -> int:
        """The operations port in use; the one of the settings until started."""
        return self._ops.port

    # Life.

    async def start(self) -> None:
        """Open everything, publishers last."""
        self._links_changed()
        await self._ops.start()
        self._publisher.start(self.background)
        await self._check_redis()
        self.background.spawn(self._watch_redis(), "redis check")
        await self._discovery.start(self._links.follow, self._discovery_state)
        await self._runner.setup()
        with listening(self._settings.host, self._settings.port):
            await web.TCPSite(self._runner, self._settings.host, self._settings.port).start()

    async def drain(self) -> None:
        """Stop taking, finish what was taken, say farewell to the gateways."""
        self._readiness.draining = True
        await self._runner.cleanup()
        await self._upstream.finish()
        await self._publisher.stop()
        await self._discovery.stop()
        await self._links.stop(LINK_FAREWELL_S)

    async def stop(self) -> None:
        """Close whatever drain has not closed, also when it never ran."""
        self._stopping = True
        await self._runner.cleanup()
        await self._upstream.stop()
        await self._discovery.stop()
        await self._links.stop(0)
        await self.background.cancel()
        self._presence.stop()
        await self._ops.stop()
        await self._client.aclose()

    # What others ask.

    def stats(self) -> dict[str, object]:
        """Return the numbers of /stats: counters, gauges, and each gateway."""
        gateways = [
            {"name": info.name, "address": info.address, "connected": info.connected, "queued_bytes": info.queued_bytes}
            for info in self._overview.gateways()
        ]
        return {**self._metrics.snapshot(), "gateways": gateways}

    def _gauges(self) -> dict[str, int]:
        return {
            "uptime_seconds": int(time.monotonic() - self._started_at),
            "gateways_known": self._links.known,
            "gateways_linked": len(self._links.up()),
            "link_envelopes_refused": self._links.refused,
            "link_queued_bytes": sum(link.queued_bytes for link in self._links.up()),
            "pending_messages": self._publisher.waiting_messages,
            "pending_bytes": self._publisher.waiting_bytes,
            "connections": self._counts.connections,
            "rooms": self._counts.room_count(),
        }

    # Wiring.

    def _link_events(self) -> LinkEvents:
        return LinkEvents(up=self._presence.up, counts=self._presence.counts, submit=self._submit, lost=self._lost)

    def _lost(self, link: Link, clean: bool) -> None:
        self._presence.lost(link, clean)

    def _submit(self, link: Link, submit: Submit) -> None:
        self._upstream.submit(link.instance, submit, link.send)

    def _make_discovery(self) -> Discovery:
        if self._settings.gateways:
            return StaticDiscovery(self._settings.gateways)
        return RegistryDiscovery(self._client)

    def _make_api(self, metrics: ApiMetrics) -> web.AppRunner:
        settings = self._settings
        options = ApiOptions(version=_version(), loopback_without_key=settings.loopback_without_key)
        keys = [setting.to_key() for setting in settings.api_keys]
        api = make_api(self._publisher, self._overview, keys=keys, options=options, metrics=metrics)
        return make_runner(api, shutdown_s=settings.stop_seconds * API_SHARE)

    # Health.

    def _links_changed(self) -> None:
        known, up = self._links.known, len(self._links.up())
        # With Redis as a path, a logic without links still reaches every gateway: one path is enough.
        ok = up > 0 or known == 0 or "redis" in self._settings.paths
        self._readiness.set("links", ok, f"{up} of {known} gateways linked")

    def _discovery_state(self, ok: bool, detail: str) -> None:
        # The last known gateways stay, so this alone is no reason to send nobody here.
        self._readiness.set("discovery", True, detail if ok else f"last known gateways kept: {detail}")
        if not ok:
            self._log.warning("discovery does not answer, the last known gateways stay", reason=detail)

    async def _watch_redis(self) -> None:
        # Not until cancelled: redis-py may swallow a cancellation (see k8s/registry.py).
        while not self._stopping:
            await asyncio.sleep(REDIS_CHECK_S)
            await self._check_redis()

    async def _check_redis(self) -> None:
        try:
            with redis_errors():
                await self._client.ping()
        except RedisError as error:
            self._readiness.set("redis", False, str(error))
        else:
            self._readiness.set("redis", True, "answers")


def _link_options(settings: LogicSettings, instance: int) -> LinkOptions:
    limits = LinkLimits(queue_bytes=settings.link_queue_bytes, patience_s=settings.push_ack_timeout_s)
    return LinkOptions(settings.link_token.get_secret_value(), Hello(instance, settings.name), limits)


def _publisher_options(settings: LogicSettings, instance: int) -> PublisherOptions:
    return PublisherOptions(
        instance,
        over_redis="redis" in settings.paths,
        over_links="http2" in settings.paths,
        ack_timeout_s=settings.push_ack_timeout_s,
    )


def _version() -> str:
    try:
        return version("danmaku-push")
    except PackageNotFoundError:
        return "0"

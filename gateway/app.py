"""The gateway process: ports, Redis and background work around the heart in `core.py`."""

import asyncio
import secrets
import time
from dataclasses import asdict
from typing import Final

from prometheus_client import CollectorRegistry

from gateway.core import CLOCK_S, DIALECTS, Gateway
from gateway.links import LinkContext, Links, PushTaker
from gateway.listener import Listener
from gateway.metrics import register
from gateway.pages import make_pages
from gateway.positions import PositionReader
from gateway.presence import REPORT_INTERVAL_S
from gateway.settings import GatewaySettings
from k8s.registry import Registrant, Registration
from protocol.envelope import Hello, decode
from protocol.errors import RemoteProtocolError
from protocol.partitions import CHANNELS
from runtime.http2.server import Http2Server
from runtime.lifecycle import Background, listening
from runtime.logs import get_logger
from runtime.ops import OpsServer, Readiness
from runtime.redis.client import connect
from runtime.redis.subscriber import Subscriber, SubscriberOptions

LATE_S: Final = 0.25
"""A clock tick later than this is logged: something kept the event loop busy."""


class GatewayService:
    """Implements `runtime.lifecycle.Service`."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._settings = settings
        self._log = get_logger("gateway")
        self.background = Background(self._log)
        self._readiness = Readiness()
        self._started_at = time.monotonic()
        me = Hello(secrets.randbits(63), settings.effective_name)
        url = settings.redis_url.get_secret_value()
        self._redis = connect(url, client_name=f"gateway:{me.name}")
        self._gateway = Gateway(settings, PositionReader(self._redis, self.background).read)
        self._taker = PushTaker(self._gateway.hub, self._gateway.counters)
        token = settings.link_token.get_secret_value()
        upstream, presence = self._gateway.upstream, self._gateway.presence
        self._links = Links(LinkContext(me, token, self._taker, upstream, presence, self._links_changed))
        self._listener = Listener(self._gateway, DIALECTS, make_pages(), settings.handshake_seconds)
        self._link_server = Http2Server(settings.link_host, settings.link_port, accept=self._links.accept)
        registry = CollectorRegistry()
        register(registry, self._gateway.counters, self._gateway.gauges)
        self._ops = OpsServer(
            settings.ops_host, settings.ops_port, registry=registry, readiness=self._readiness, stats=self.stats
        )
        self._subscriber = Subscriber(
            url,
            CHANNELS,
            on_message=self._message,
            on_state=self._subscription_changed,
            options=SubscriberOptions(client_name=f"gateway-sub:{me.name}"),
        )
        self._registration: Registration | None = None
        self._me = me
        self._subscribed = False
        self._link_count = 0

    async def start(self) -> None:
        """Open the ports, then subscribe and register: a logic that hears of this gateway can reach it."""
        settings = self._settings
        self._gateway.fanout.start()
        self._paths_changed()
        await self._ops.start()
        await self._link_server.start()
        with listening(settings.host, settings.port):
            await self._listener.start(settings.host, settings.port)
        self.background.spawn(self._keep_time(), "clock")
        self.background.spawn(self._keep_house(), "housekeeping")
        if settings.subscribe:
            await self._subscriber.start()
        if settings.announce:
            address = settings.link_address or f"{settings.link_host}:{self._link_server.port}"
            self._registration = Registration(self._redis, Registrant(self._me.name, self._me.instance, address))
            await self._registration.start(self._registration_changed)
        self._log.info("gateway open", name=self._me.name, port=self._listener.port, link=self._link_server.port)

    async def drain(self) -> None:
        """Turn not ready, take nobody new, send everybody away over the drain window."""
        self._readiness.draining = True
        if self._registration is not None:
            await self._registration.stop()
        await self._gateway.drain()
        self._listener.close()

    async def stop(self) -> None:
        """Close everything that is still open."""
        if self._registration is not None:
            await self._registration.stop()
        await self._listener.stop()
        self._gateway.cut()
        await self._subscriber.stop()
        await self._link_server.stop()
        await self.background.cancel()
        await self._ops.stop()
        await self._redis.aclose()

    def stats(self) -> dict[str, object]:
        """Return what /stats shows: the same numbers as /metrics, and the links."""
        return {
            "name": self._me.name,
            "instance": self._me.instance,
            "uptime_seconds": round(time.monotonic() - self._started_at, 1),
            "port": self._listener.port,
            "link_port": self._link_server.port,
            **{name: int(value) for name, value in self._gateway.gauges().items()},
            **asdict(self._gateway.counters),
            "subscribed": self._subscribed,
            "links": self._links.describe(),
        }

    def _message(self, channel: str, payload: bytes) -> None:
        try:
            self._taker.take(decode(payload), "redis")
        except RemoteProtocolError as error:
            self._log.error("bad envelope on a channel", channel=channel, error=str(error))

    def _links_changed(self, count: int) -> None:
        self._link_count = count
        self._paths_changed()

    def _subscription_changed(self, subscribed: bool) -> None:
        self._subscribed = subscribed
        self._paths_changed()

    def _registration_changed(self, ok: bool, detail: str) -> None:
        # Not a reason to send viewers elsewhere: logics that know this gateway keep their links to it.
        (self._log.info if ok else self._log.warning)("registration", ok=ok, detail=detail)

    def _paths_changed(self) -> None:
        """One path is enough to be ready."""
        detail = f"redis {'subscribed' if self._subscribed else 'not subscribed'}, {self._link_count} links"
        self._readiness.set("paths", self._subscribed or self._link_count > 0, detail)

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + CLOCK_S
            await asyncio.sleep(CLOCK_S)
            self._gateway.tick()
            late_s = loop.time() - due
            if late_s > LATE_S:
                self._log.warning("event loop was busy", late_seconds=round(late_s, 3))

    async def _keep_house(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(REPORT_INTERVAL_S)
            self._gateway.presence.report()
            self._gateway.upstream.expire()
            self._listener.expire(loop.time())

"""The numbers of a logic: plain integers where they are counted, Prometheus and /stats where they are read."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(slots=True)
class Tally:
    """What happened since the start. Incremented where it happens: an attribute, not a locked counter, per event.

    accepted = published + replayed + conflicts + unavailable + what is waiting, all in pushes.
    """

    pushes_accepted: int = 0
    pushes_published: int = 0
    pushes_replayed: int = 0
    pushes_conflicting: int = 0
    pushes_unavailable: int = 0
    messages_published: int = 0
    envelopes_forwarded: int = 0
    flushes: int = 0
    redis_failures: int = 0
    submissions_published: int = 0
    submissions_refused: int = 0


MEANINGS = {
    "pushes_accepted": "Pushes taken from publishers and viewers",
    "pushes_published": "Pushes that Redis gave their place",
    "pushes_replayed": "Pushes answered by their idempotency key, published before",
    "pushes_conflicting": "Pushes whose idempotency key stood for another push",
    "pushes_unavailable": "Pushes that failed because Redis or this process could not take them",
    "messages_published": "Messages in published pushes",
    "envelopes_forwarded": "Push envelopes handed to the links, once for all gateways",
    "flushes": "Round trips to Redis that published",
    "redis_failures": "Round trips to Redis that failed",
    "submissions_published": "Viewers' own messages that were published",
    "submissions_refused": "Viewers' own messages that were refused",
}

Gauges = Callable[[], dict[str, int]]


class LogicMetrics(Collector):
    """Shows a Tally, and gauges that are asked for when somebody looks, as logic_* in the registry given.

    Beside them logic_flush_seconds and logic_flush_messages, of every flush: its round trip to Redis and its size.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.tally = Tally()
        self._gauges: Gauges = dict
        self.flush_seconds = Histogram(
            "logic_flush_seconds", "Redis' share of a flush", buckets=_SECONDS, registry=registry
        )
        self.flush_messages = Histogram(
            "logic_flush_messages",
            "Messages in a flush",
            buckets=(1, 3, 10, 30, 100, 300, 1000, 3000),
            registry=registry,
        )
        registry.register(self)

    def watch(self, gauges: Gauges) -> None:
        """Say where the gauges come from."""
        self._gauges = gauges

    def snapshot(self) -> dict[str, object]:
        """Return counters and gauges as JSON-ready values."""
        return {**asdict(self.tally), **self._gauges()}

    def collect(self) -> Iterable[Metric]:
        """Give Prometheus what `snapshot` gives people."""
        for name, value in asdict(self.tally).items():
            yield CounterMetricFamily(f"logic_{name}", MEANINGS[name], value=value)
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"logic_{name}", name.replace("_", " "), value=value)

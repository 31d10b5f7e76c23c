"""The gateway's counters: plain integers on the hot path, read by Prometheus and /stats alike."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


@dataclass(slots=True)
class Counters:
    """Everything that is counted since the start. Written by the event loop's thread only.

    Messages: `messages_received` copies came; of these some were `duplicates` or `late`; `unheard` had no viewer here;
    the rest was batched. A delivery is one message to one viewer.
    """

    connections_opened: int = 0
    connections_closed: dict[int, int] = field(default_factory=dict)
    handshakes_refused: dict[int, int] = field(default_factory=dict)
    commands: dict[str, int] = field(default_factory=dict)
    command_errors: dict[str, int] = field(default_factory=dict)
    pushes_received: dict[str, int] = field(default_factory=dict)
    messages_received: int = 0
    messages_duplicate: int = 0
    messages_unheard: int = 0
    messages_missing: int = 0
    messages_malformed: int = 0
    messages_batched: int = 0
    frames_encoded: int = 0
    frames_written: int = 0
    frames_queued: int = 0
    bytes_written: int = 0
    deliveries: int = 0
    shed: dict[str, int] = field(default_factory=dict)

    def count(self, family: dict[str, int], label: str, by: int = 1) -> None:
        """Add to a labelled counter."""
        family[label] = family.get(label, 0) + by


_LABELS = {
    "connections_closed": "code",
    "handshakes_refused": "status",
    "commands": "type",
    "command_errors": "code",
    "pushes_received": "path",
    "shed": "reason",
}


class CountersCollector:
    """Shows `Counters`, and gauges that are computed when asked for, to Prometheus."""

    def __init__(self, counters: Counters, gauges: Callable[[], dict[str, float]], prefix: str) -> None:
        self._counters = counters
        self._gauges = gauges
        self._prefix = prefix

    def collect(self) -> Iterator[Metric]:
        """Yield one family per counter; see prometheus_client, "Custom Collectors"."""
        for item in fields(self._counters):
            value = getattr(self._counters, item.name)
            name = f"{self._prefix}_{item.name}"
            label = _LABELS.get(item.name)
            family = CounterMetricFamily(name, item.name.replace("_", " "), labels=[label] if label else None)
            for key, count in value.items() if isinstance(value, dict) else [("", value)]:
                family.add_metric([str(key)] if label else [], count)
            yield family
        for gauge, number in self._gauges().items():
            yield GaugeMetricFamily(f"{self._prefix}_{gauge}", gauge.replace("_", " "), value=number)


def register(registry: CollectorRegistry, counters: Counters, gauges: Callable[[], dict[str, float]]) -> None:
    """Make the gateway's numbers part of a registry."""
    registry.register(CountersCollector(counters, gauges, "danmaku_gateway"))

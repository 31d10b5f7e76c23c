"""The numbers of a logic."""

from dataclasses import asdict

from prometheus_client import CollectorRegistry, generate_latest

from logic.metrics import MEANINGS, LogicMetrics


def test_prometheus_and_people_see_the_same_numbers() -> None:
    """Every counter and gauge of the snapshot is in the exposition with the same value."""
    registry = CollectorRegistry()
    metrics = LogicMetrics(registry)
    metrics.tally.pushes_published = 3
    metrics.watch(lambda: {"gateways_known": 2})
    text = generate_latest(registry).decode()
    assert "logic_pushes_published_total 3.0" in text
    assert "logic_gateways_known 2.0" in text
    assert metrics.snapshot()["pushes_published"] == 3
    assert metrics.snapshot()["gateways_known"] == 2


def test_every_counter_has_a_meaning() -> None:
    """Help texts and counters are the same set."""
    assert set(MEANINGS) == set(asdict(LogicMetrics(CollectorRegistry()).tally))

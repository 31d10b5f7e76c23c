"""The gateway's counters as Prometheus sees them."""

from dataclasses import fields

from prometheus_client import CollectorRegistry, generate_latest

from gateway.metrics import Counters, register


def exposed(counters: Counters) -> str:
    """Return what Prometheus would scrape."""
    registry = CollectorRegistry()
    register(registry, counters, lambda: {"connections": 3.0})
    return generate_latest(registry).decode()


def test_every_counter_is_exposed() -> None:
    """Each field is one family; labelled ones show a sample per label."""
    counters = Counters()
    counters.deliveries = 7
    counters.count(counters.connections_closed, 4000)  # type: ignore[arg-type]  # close codes are labels, too
    counters.count(counters.shed, "slow_viewer", 5)
    counters.count(counters.shed, "slow_viewer")
    text = exposed(counters)
    for field in fields(Counters):
        assert f"# TYPE danmaku_gateway_{field.name}_total counter" in text
    assert "danmaku_gateway_deliveries_total 7.0" in text
    assert 'danmaku_gateway_shed_total{reason="slow_viewer"} 6.0' in text
    assert 'danmaku_gateway_connections_closed_total{code="4000"} 1.0' in text
    assert "danmaku_gateway_connections 3.0" in text


def test_the_numbers_are_read_when_asked_for() -> None:
    """A scrape shows the numbers of its moment."""
    counters = Counters()
    registry = CollectorRegistry()
    register(registry, counters, dict)
    counters.frames_written = 1
    assert b"frames_written_total 1.0" in generate_latest(registry)
    counters.frames_written = 2
    assert b"frames_written_total 2.0" in generate_latest(registry)

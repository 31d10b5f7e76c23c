"""The keepalive's decisions, with time as an argument."""

from __future__ import annotations

from runtime.http2.keepalive import Keepalive, Verdict


def test_silence_is_pinged_then_dead() -> None:
    """After one interval of silence a ping, after two the peer is dead."""
    keepalive = Keepalive(5.0, 100.0)
    assert keepalive.check(105.0) == (Verdict.PING, 110.0)
    assert keepalive.check(110.0)[0] is Verdict.DEAD


def test_any_sign_of_life_starts_over() -> None:
    """A peer that was heard after the ping gets a full interval, and a ping of its own again."""
    keepalive = Keepalive(5.0, 0.0)
    assert keepalive.check(5.0)[0] is Verdict.PING
    keepalive.heard = 7.0
    assert keepalive.check(10.0) == (Verdict.WAIT, 12.0)
    assert keepalive.check(12.0) == (Verdict.PING, 17.0)
    assert keepalive.check(17.0)[0] is Verdict.DEAD


def test_an_answered_ping_is_forgotten() -> None:
    """A peer that answered its ping and is silent again is asked again before it is given up."""
    keepalive = Keepalive(5.0, 0.0)
    for round_ in range(1, 10):
        now = 5.0 * round_
        assert keepalive.check(now) == (Verdict.PING, now + 5.0)
        keepalive.heard = now


def test_a_busy_peer_is_never_pinged() -> None:
    """As long as something is heard in each interval, there is nothing to ask."""
    keepalive = Keepalive(5.0, 0.0)
    now = 5.0
    for _ in range(100):
        keepalive.heard = now - 1.0
        verdict, due = keepalive.check(now)
        assert verdict is Verdict.WAIT
        assert now < due <= now + 5.0
        now = due


def test_a_check_that_comes_late_condemns_nobody() -> None:
    """When our own process stood still the peer is asked anew instead of being given up."""
    keepalive = Keepalive(5.0, 0.0)
    assert keepalive.check(5.0)[0] is Verdict.PING
    assert keepalive.check(60.0) == (Verdict.PING, 65.0)
    assert keepalive.check(65.0)[0] is Verdict.DEAD


def test_a_check_that_comes_early_waits() -> None:
    """A timer that fires a moment early changes nothing but the time of the next check."""
    keepalive = Keepalive(5.0, 0.0)
    assert keepalive.check(4.999) == (Verdict.WAIT, 5.0)
    assert keepalive.check(5.0)[0] is Verdict.PING
    assert keepalive.check(9.999) == (Verdict.WAIT, 10.0)
    assert keepalive.check(10.0)[0] is Verdict.DEAD

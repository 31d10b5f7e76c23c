"""Acknowledgements: who is waited for, and when the waiting ends."""

import pytest

from logic.delivery import AckLedger, Delivery
from protocol.errors import RemoteProtocolError


def delivery() -> tuple[Delivery, list[int]]:
    """Return a delivery and the list that its outcome goes to."""
    outcome: list[int] = []
    return Delivery(outcome.append), outcome


def test_a_delivery_without_links_is_done_at_once() -> None:
    """Nobody to wait for is nobody who acknowledged."""
    flush, outcome = delivery()
    assert outcome == []
    flush.sealed()
    assert outcome == [0]


def test_a_delivery_ends_with_the_last_acknowledgement() -> None:
    """The outcome comes once, when every link has answered, with the number that acknowledged."""
    flush, outcome = delivery()
    ledgers = [AckLedger(1.0) for _ in range(3)]
    for ledger in ledgers:
        ledger.record(2, flush, now=0.0)
    flush.sealed()
    ledgers[0].acknowledge(2)
    ledgers[1].abandon()
    assert outcome == []
    ledgers[2].acknowledge(1)
    assert outcome == []
    ledgers[2].acknowledge(2)
    assert outcome == [2]
    flush.expire()
    assert outcome == [2]


def test_an_answer_before_the_seal_does_not_end_it() -> None:
    """A delivery waits for the links that are still to be told."""
    flush, outcome = delivery()
    ledger = AckLedger(1.0)
    ledger.record(1, flush, now=0.0)
    ledger.acknowledge(1)
    assert outcome == []
    flush.sealed()
    assert outcome == [1]


def test_time_ends_a_delivery() -> None:
    """After its time a delivery counts who answered; what comes later changes nothing."""
    flush, outcome = delivery()
    prompt, frozen = AckLedger(1.0), AckLedger(1.0)
    prompt.record(1, flush, now=0.0)
    frozen.record(1, flush, now=0.0)
    flush.sealed()
    prompt.acknowledge(1)
    flush.expire()
    frozen.acknowledge(1)
    assert outcome == [1]


def test_a_late_gateway_is_not_waited_for() -> None:
    """A gateway that owes an acknowledgement for too long delays nothing more until it has caught up."""
    ledger = AckLedger(1.0)
    first, _ = delivery()
    ledger.record(1, first, now=0.0)
    first.sealed()
    second, outcome = delivery()
    ledger.record(1, second, now=1.5)
    second.sealed()
    assert outcome == [0]
    ledger.acknowledge(2)
    third, outcome = delivery()
    ledger.record(1, third, now=1.6)
    third.sealed()
    assert outcome == []
    ledger.acknowledge(3)
    assert outcome == [1]


def test_one_acknowledgement_settles_all_before_it() -> None:
    """Acknowledgements are cumulative."""
    ledger, outcomes = AckLedger(1.0), list[int]()
    for _ in range(5):
        flush = Delivery(outcomes.append)
        ledger.record(3, flush, now=0.0)
        flush.sealed()
    ledger.acknowledge(11)
    assert outcomes == [1, 1, 1]


@pytest.mark.parametrize("received", [0, 3, 2**40])
def test_an_impossible_acknowledgement_is_refused(received: int) -> None:
    """A gateway cannot take back what it acknowledged, nor acknowledge what was not sent."""
    ledger = AckLedger(1.0)
    ledger.record(2, delivery()[0], now=0.0)
    ledger.acknowledge(1)
    with pytest.raises(RemoteProtocolError, match=f"{received} is outside 1 to 2"):
        ledger.acknowledge(received)

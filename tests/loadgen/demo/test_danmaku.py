"""The made-up danmaku of the demo."""

import json
from collections import Counter
from random import Random

import msgspec
import pytest

from loadgen.demo.danmaku import BREATH_S, Crowd, rate_at
from protocol.danmaku import Danmaku
from protocol.limits import DANMAKU_MAX_CHARS, DATA_MAX_BYTES

EVENING = 5_000


def test_danmaku_follow_the_schema() -> None:
    """Every plain message is a danmaku that the clients understand, within a viewer's own limits."""
    crowd = Crowd(["live"], Random(1))
    data = [push.data for push in (crowd.next() for _ in range(EVENING)) if push.data["type"] == "danmaku"]
    danmaku = msgspec.convert(data, list[Danmaku])
    assert len(danmaku) > EVENING * 0.9
    assert all(0 < len(item.text) <= DANMAKU_MAX_CHARS for item in danmaku)
    assert {item.mode for item in danmaku} == {"scroll", "top", "bottom"}
    assert len({item.color for item in danmaku}) > 3


def test_every_message_is_small() -> None:
    """No message comes near the largest that the platform takes."""
    crowd = Crowd(["live"], Random(2))
    assert max(len(json.dumps(crowd.next().data)) for _ in range(EVENING)) < DATA_MAX_BYTES / 16


def test_gifts_and_superchats_are_reliable() -> None:
    """What somebody paid for is reliable and goes first; chat is lossy."""
    crowd = Crowd(["live"], Random(3))
    kinds = {(push.data["type"], push.delivery, push.priority) for push in (crowd.next() for _ in range(EVENING))}
    assert kinds == {
        ("danmaku", "lossy", "normal"),
        ("gift", "reliable", "high"),
        ("superchat", "reliable", "high"),
        ("notice", "lossy", "high"),
    }


def test_several_scripts_are_written() -> None:
    """Chinese, Japanese, English and emoji all appear, so that fonts and encodings are put to the test."""
    crowd = Crowd(["live"], Random(4))
    text = "".join(str(crowd.next().data["text"]) for _ in range(EVENING))
    for low, high in (("一", "龥"), ("ぁ", "ん"), ("a", "z"), ("😀", "😿")):
        assert any(low <= character <= high for character in text)


def test_earlier_rooms_are_livelier() -> None:
    """Every room gets messages, the first the most."""
    crowd = Crowd(["a", "b", "c"], Random(5))
    counts = Counter(crowd.next().room for _ in range(EVENING))
    assert counts["a"] > counts["b"] > counts["c"] > 0


def test_the_same_seed_writes_the_same() -> None:
    """A seed makes a demo repeatable."""
    first, second = Crowd(["live"], Random(6)), Crowd(["live"], Random(6))
    assert [first.next() for _ in range(100)] == [second.next() for _ in range(100)]


def test_the_rate_breathes_around_its_mean() -> None:
    """Over one breath the mean is what was asked for, with quiet and busy moments and never silence."""
    rates = [rate_at(BREATH_S * step / 1000, 8.0) for step in range(1000)]
    assert sum(rates) / len(rates) == pytest.approx(8.0)
    assert 0 < min(rates) < 3
    assert 13 < max(rates) < 16


def test_pauses_add_up_to_the_rate() -> None:
    """Independent writers make pauses of irregular length whose mean is one over the rate."""
    crowd = Crowd(["live"], Random(7))
    pauses = [crowd.pause(20.0) for _ in range(EVENING)]
    assert sum(pauses) / len(pauses) == pytest.approx(0.05, rel=0.1)
    assert min(pauses) < 0.01 < 0.1 < max(pauses)


def test_a_crowd_needs_a_room() -> None:
    """No rooms at all is a mistake of the caller."""
    with pytest.raises(ValueError, match="at least one room"):
        Crowd([], Random(8))

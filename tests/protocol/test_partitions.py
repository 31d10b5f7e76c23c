"""Where a room lives in Redis: fixed values, for two versions of the platform must agree on them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.partitions import CHANNELS, PARTITIONS, channel, partition_of, room_key, tag

ROWS = [("", 0), ("42", 8), ("live://1", 5), ("a", 3), ("room/with:all_of-it.", 12), ("anna@example.org", 36)]


@pytest.mark.parametrize(("name", "partition"), ROWS)
def test_partition_of_a_name(name: str, partition: int) -> None:
    """The partition of a name never changes: it is CRC-32 of its UTF-8 modulo 64."""
    assert partition_of(name) == partition


def test_check_value_of_the_checksum() -> None:
    """The checksum is the CRC-32 of ISO 3309, whose check value is 0xCBF43926."""
    assert partition_of("123456789") == 0xCBF43926 % 64


def test_names_in_redis() -> None:
    """Keys and channels of a partition share the hash tag, which a Cluster hashes alone."""
    assert PARTITIONS == 64
    assert tag(7) == "dm:{p07}"
    assert channel(63) == "dm:{p63}:push"
    assert room_key("42") == "dm:{p08}:room:42"


def test_every_partition_has_a_channel() -> None:
    """A gateway that subscribes to all channels misses no room."""
    assert [channel(number) for number in range(64)] == list(CHANNELS)
    assert len(set(CHANNELS)) == 64


@given(st.text())
def test_a_room_is_published_where_gateways_listen(room: str) -> None:
    """A room's key lies under the tag of one of the channels."""
    assert room_key(room) == f"{tag(partition_of(room))}:room:{room}"
    assert channel(partition_of(room)) in CHANNELS

"""Which Redis channel and which hash slot a room lives on.

The number of channels is fixed, so a gateway's subscriptions do not grow with its rooms. A room's keys and its
channel carry the same hash tag (Redis Cluster specification, "Hash tags"), so one script can touch them all.
"""

from typing import Final
from zlib import crc32

PARTITIONS: Final = 64
"""A contract between the tiers. Enough to spread over the largest clusters in use, few enough to subscribe at once."""

KEY_PREFIX: Final = "dm"


def partition_of(name: str) -> int:
    """Return the partition, 0 to 63, of a room or user."""
    return crc32(name.encode()) % PARTITIONS


def tag(partition: int) -> str:
    """Return the key prefix of a partition, hash tag included: `dm:{p07}`."""
    return f"{KEY_PREFIX}:{{p{partition:02}}}"


def channel(partition: int) -> str:
    """Return the name of a partition's pub/sub channel."""
    return f"{tag(partition)}:push"


CHANNELS: Final = tuple(channel(number) for number in range(PARTITIONS))
"""Every channel a gateway subscribes to."""


def room_key(room: str) -> str:
    """Return the key of a room's sequence: a hash of `epoch` and `seq`, written by logic, read by gateways."""
    return f"{tag(partition_of(room))}:room:{room}"

"""Writing one frame to many descriptors: the inner loop of the gateway."""

from collections.abc import Sequence
from os import write
from typing import Final

DEAD: Final = -1
"""In the place of a byte count: the peer is gone."""


def write_to_all(descriptors: Sequence[int], frame: bytes) -> list[tuple[int, int]]:
    """Write the frame once to each non-blocking descriptor, in order.

    Returns `(index, bytes taken)` for those that did not take it whole: 0 when the socket is full, DEAD when the
    peer is gone. Releases the GIL in every system call, so several threads can write different buckets.
    """
    incomplete: list[tuple[int, int]] = []
    size = len(frame)
    for index, descriptor in enumerate(descriptors):
        try:
            taken = write(descriptor, frame)
        except BlockingIOError:
            taken = 0
        except OSError:
            taken = DEAD
        if taken != size:
            incomplete.append((index, taken))
    return incomplete

"""What discovery promises, whichever way it works.

* `start` returns once the first attempt to learn the peers has ended, well or not: nobody waits for Redis or for an
  API server in order to start.
* `on_peers` gets the whole set, never a difference, and only when it is another one than before; the first set that
  was learned is always reported, an empty one too. It is called in the event loop, must not block and must not raise.
* A source that cannot be reached changes no peers: the last known set stays, `on_state` says since when and why, and
  discovery goes on trying by itself until `stop`.
* `on_state` is called on every change of state, first from within `start`. It must not block and must not raise.
* After `stop` has returned neither is called again. `stop` is harmless when not started. A discovery starts once.

Discovery says whom to dial. It does not say whom to hang up on: a link that is alive is better evidence than a list.
"""

from collections.abc import Callable
from typing import Protocol

from k8s.peers import PeerSet

OnPeers = Callable[[PeerSet], None]
OnState = Callable[[bool, str], None]
"""Called with whether the source answers, and a sentence for people."""


class Discovery(Protocol):
    """Follows the set of gateways. See the module for the contract."""

    async def start(self, on_peers: OnPeers, on_state: OnState) -> None:
        """Begin to follow."""

    async def stop(self) -> None:
        """End, and wait until everything has ended."""

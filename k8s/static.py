"""Discovery from a fixed list: for tests, for one machine, and for whoever knows better."""

from collections.abc import Sequence

from k8s.base import OnPeers, OnState
from k8s.peers import Peer, peer_set, split_address


class StaticDiscovery:
    """Reports the given addresses once. A peer is named by its address, since nothing else is known of it."""

    def __init__(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            split_address(address)
        self._peers = peer_set(Peer(address, address) for address in addresses)

    def __repr__(self) -> str:
        return f"<StaticDiscovery peers={len(self._peers)}>"

    async def start(self, on_peers: OnPeers, on_state: OnState) -> None:
        """Report the list."""
        on_state(True, f"fixed list of {len(self._peers)}")
        on_peers(self._peers)

    async def stop(self) -> None:
        """Do nothing: nothing is running."""

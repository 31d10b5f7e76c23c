"""Peers and the difference between two sets of them. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True, slots=True, order=True)
class Peer:
    """A gateway as discovery sees it.

    `name` tells peers apart and outlives a change of `address` ("host:port" of the link port; IPv6 hosts in
    brackets). A peer that is not `ready` is still there and still wants messages, but takes no new viewers.
    """

    name: str
    address: str
    ready: bool = True


PeerSet = frozenset[Peer]
"""Every peer at one moment, at most one of a name."""


def peer_set(peers: Iterable[Peer]) -> PeerSet:
    """Return the peers as a set; of several with one name the last stays, because it is the newest."""
    return frozenset({peer.name: peer for peer in peers}.values())


class Difference(NamedTuple):
    """How one peer set became another. `changed` are the new values of peers whose name stayed."""

    added: PeerSet
    removed: PeerSet
    changed: PeerSet


def difference(old: PeerSet, new: PeerSet) -> Difference:
    """Compare by name, so that a peer which came back under another address is a change, not a stranger."""
    before = {peer.name: peer for peer in old}
    after = {peer.name: peer for peer in new}
    return Difference(
        added=frozenset(peer for name, peer in after.items() if name not in before),
        removed=frozenset(peer for name, peer in before.items() if name not in after),
        changed=frozenset(peer for name, peer in after.items() if before.get(name, peer) != peer),
    )


class AddressInvalid(ValueError):
    """An address is not "host:port"."""


def split_address(address: str) -> tuple[str, int]:
    """Return host and port of "host:port" ("[::1]:8001" gives "::1"); raise AddressInvalid otherwise."""
    host, colon, digits = address.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    bracketed = host.startswith("[") and host.endswith("]")
    if not colon or not bare or (":" in bare) != bracketed or not (digits.isascii() and digits.isdigit()):
        raise AddressInvalid(f"{address!r} is not host:port")
    port = int(digits)
    if not 1 <= port <= 65535:
        raise AddressInvalid(f"{address!r}: the port must be 1 to 65535")
    return bare, port

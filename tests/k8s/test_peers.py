"""Peer sets and their differences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8s.peers import AddressInvalid, Peer, difference, peer_set, split_address

PEERS = st.lists(
    st.builds(Peer, st.sampled_from("abcdef"), st.sampled_from(("h:1", "h:2")), st.booleans()), max_size=8
).map(peer_set)


def test_the_last_peer_of_a_name_stays() -> None:
    """Of several peers with one name the last is the newest."""
    assert peer_set([Peer("a", "h:1"), Peer("b", "h:3"), Peer("a", "h:2")]) == {Peer("a", "h:2"), Peer("b", "h:3")}


def test_a_new_address_is_a_change() -> None:
    """A peer that came back elsewhere is changed; neither added nor removed."""
    old, new = peer_set([Peer("a", "h:1"), Peer("b", "h:2")]), peer_set([Peer("a", "h:9"), Peer("c", "h:3")])
    result = difference(old, new)
    assert result.added == {Peer("c", "h:3")}
    assert result.removed == {Peer("b", "h:2")}
    assert result.changed == {Peer("a", "h:9")}


@given(PEERS, PEERS)
def test_a_difference_leads_from_one_set_to_the_other(old: frozenset[Peer], new: frozenset[Peer]) -> None:
    """Applying a difference to the old set gives the new one, and its three parts share no name."""
    added, removed, changed = difference(old, new)
    kept = {peer.name: peer for peer in old - removed} | {peer.name: peer for peer in added | changed}
    assert frozenset(kept.values()) == new
    names = [peer.name for part in (added, removed, changed) for peer in part]
    assert len(names) == len(set(names))


@given(PEERS)
def test_equal_sets_have_no_difference(peers: frozenset[Peer]) -> None:
    """Nothing is reported between equal sets."""
    assert not any(difference(peers, peers))


@pytest.mark.parametrize(
    ("address", "parts"),
    [
        ("10.0.0.7:8001", ("10.0.0.7", 8001)),
        ("gateway-0.gateways:8001", ("gateway-0.gateways", 8001)),
        ("[::1]:65535", ("::1", 65535)),
    ],
)
def test_an_address_is_host_and_port(address: str, parts: tuple[str, int]) -> None:
    """Names, IPv4 addresses and bracketed IPv6 addresses are taken apart."""
    assert split_address(address) == parts


@pytest.mark.parametrize(
    "address", ["", "host", "host:", ":80", "host:0", "host:65536", "h:-1", "h:８", "::1:80", "[h]:1"]
)
def test_anything_else_is_refused(address: str) -> None:
    """An address without a port, out of range or ambiguous is refused, and the text quotes it."""
    with pytest.raises(AddressInvalid) as caught:
        split_address(address)
    assert repr(address) in str(caught.value)

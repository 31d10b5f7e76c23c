"""The fixed list."""

import pytest

from k8s.peers import AddressInvalid
from k8s.static import StaticDiscovery


def test_a_wrong_address_is_refused_at_once() -> None:
    """A list with a malformed address is a mistake of the settings, found before anything starts."""
    with pytest.raises(AddressInvalid, match="nonsense"):
        StaticDiscovery(["127.0.0.1:8001", "nonsense"])

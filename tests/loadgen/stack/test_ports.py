"""Checking ports before anything starts."""

import socket
from collections.abc import Iterator

import pytest

from loadgen.errors import LoadgenError
from loadgen.stack.plan import HOST, Part, PortUse
from loadgen.stack.ports import free_port, is_free, redis_port, require_free


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which somebody listens."""
    with socket.create_server((HOST, 0)) as server:
        yield server.getsockname()[1]


def test_a_listener_makes_a_port_taken(taken: int) -> None:
    """A port with a listener is not free; one that the system offers is."""
    assert not is_free(taken)
    assert is_free(free_port())


def test_a_listener_on_every_address_counts() -> None:
    """A server on the wildcard address takes the port on loopback too."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert not is_free(server.getsockname()[1])


def test_the_message_names_port_purpose_and_way_out(taken: int) -> None:
    """One line says which ports are taken, what for, and how to choose others."""
    part = Part("gateway-1", ("true",), ports=(PortUse(taken, "viewers of gateway-1"), PortUse(free_port(), "idle")))
    with pytest.raises(LoadgenError) as caught:
        require_free([part], offset=500)
    message = str(caught.value)
    assert f"port is taken: {taken} (viewers of gateway-1);" in message
    assert "loadgen up --port-offset 1500" in message
    assert "idle" not in message
    assert "\n" not in message


def test_free_ports_pass() -> None:
    """Nothing happens when all ports are free."""
    require_free([Part("logic", ("true",), ports=(PortUse(free_port(), "push API"),))])


def test_redis_takes_the_next_free_port() -> None:
    """When the usual port of Redis is taken, a free one is found."""
    usual = redis_port()
    with socket.create_server((HOST, usual)):
        other = redis_port()
        assert other != usual
        assert is_free(other)

"""The gateway's settings: defaults, and combinations that make no sense."""

from typing import Any

import pytest
from pydantic import ValidationError

from gateway.settings import GatewaySettings
from protocol.limits import HANDSHAKE_TIMEOUT_S, HEARTBEAT_S, IDLE_TIMEOUT_S, OUTBOX_MAX_BYTES
from tests.gateway.test_identity import KEYS, public

TOKEN = "x" * 16


def made(**values: Any) -> GatewaySettings:
    """Make settings."""
    return GatewaySettings.model_validate({"link_token": TOKEN, "anonymous": True, **values})


def test_defaults_are_the_limits_of_the_protocol() -> None:
    """What the wire reference says about times and sizes is what a gateway does unless told otherwise."""
    settings = made()
    assert (settings.idle_seconds, settings.ping_seconds) == (IDLE_TIMEOUT_S, HEARTBEAT_S)
    assert (settings.handshake_seconds, settings.outbox_bytes) == (HANDSHAKE_TIMEOUT_S, OUTBOX_MAX_BYTES)
    assert (settings.port, settings.link_port, settings.ops_port, settings.tick_ms) == (8000, 8001, 8002, 1000)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"link_token": "short"}, "link_token"),
        ({"jwt_secret": "short"}, "jwt_secret"),
        ({"tick_ms": 49}, "tick_ms"),
        ({"idle_seconds": 20}, r"idle_seconds \(20\) must be more than ping_seconds \(25\)"),
        ({"drain_seconds": 15}, r"stop_seconds \(15\) must be more than drain_seconds \(15\)"),
        ({"anonymous": False}, "nobody could join: set jwt_secret or jwt_public_key, or allow anonymous viewers"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_what_makes_no_sense_is_named(values: dict[str, Any], message: str) -> None:
    """A wrong value or combination is refused at the start, and the text names the fields."""
    with pytest.raises(ValidationError, match=message):
        made(**values)


def test_a_token_key_is_enough() -> None:
    """Without anonymous viewers one key of either kind is needed."""
    assert made(anonymous=False, jwt_secret="s" * 32).jwt_secret is not None
    pem = public(KEYS["ES256"])
    assert made(anonymous=False, jwt_public_key=pem).jwt_public_key == pem


def test_a_token_key_that_cannot_be_read_is_found_at_the_start() -> None:
    """What is not a public key in PEM form is refused by name, before any viewer comes."""
    with pytest.raises(ValidationError, match="is not a public key in PEM form"):
        made(jwt_public_key="PEM")


def test_secrets_do_not_show() -> None:
    """Neither the link token nor the token secret is in the text form of the settings."""
    text = repr(made(jwt_secret="s" * 32))
    assert TOKEN not in text
    assert "s" * 32 not in text


def test_the_name() -> None:
    """A gateway without a name gets one that tells host and process."""
    assert made(name="gw-1").effective_name == "gw-1"
    assert made().effective_name.rpartition("-")[2].isdigit()

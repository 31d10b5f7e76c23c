"""The settings of a logic: what is needed, what is refused, and with which words."""

import json

import pytest

from logic.settings import LogicSettings
from runtime.settings import load_settings

KEYS = json.dumps([{"name": "shop", "key": "k" * 24, "scopes": ["publish", "read"]}])
ENOUGH = {"LOGIC_LINK_TOKEN": "t" * 16, "LOGIC_API_KEYS": KEYS}


def load(environ: dict[str, str], *argv: str) -> LogicSettings:
    """Load settings as the program does."""
    return load_settings(LogicSettings, prog="danmaku-logic", description="d", argv=argv, environ=environ)


def test_the_defaults_are_those_of_the_design() -> None:
    """With the two secrets given, everything else has its documented default."""
    settings = load(ENOUGH)
    assert (settings.host, settings.port, settings.ops_port) == ("127.0.0.1", 8100, 8102)
    assert settings.redis_url.get_secret_value() == "redis://127.0.0.1:6379/0"
    assert settings.paths == ("http2", "redis")
    assert settings.gateways == ()
    assert (settings.push_ack_timeout_s, settings.send_max_text, settings.link_queue_bytes) == (
        1.0,
        100,
        8 * 1024 * 1024,
    )
    assert not settings.loopback_without_key
    assert settings.send_requires_auth
    assert [(key.name, key.scopes) for key in settings.api_keys] == [("shop", ("publish", "read"))]


def test_lists_are_written_with_commas() -> None:
    """Paths and gateways are words with commas in the environment and in flags."""
    settings = load({**ENOUGH, "LOGIC_PATHS": "redis", "LOGIC_GATEWAYS": "a:1, [::1]:2"}, "--paths", "http2")
    assert (settings.paths, settings.gateways) == (("http2",), ("a:1", "[::1]:2"))


REFUSED = [
    ("LOGIC_LINK_TOKEN", None, "link_token"),
    ("LOGIC_LINK_TOKEN", "short", "16"),
    ("LOGIC_API_KEYS", None, "api_keys"),
    ("LOGIC_API_KEYS", "[]", "api_keys"),
    ("LOGIC_API_KEYS", "nonsense", "api_keys"),
    ("LOGIC_API_KEYS", json.dumps([{"name": "a", "key": "short", "scopes": ["read"]}]), "16"),
    ("LOGIC_API_KEYS", json.dumps([{"name": "a", "key": "k" * 24, "scopes": ["everything"]}]), "scopes"),
    ("LOGIC_API_KEYS", json.dumps([{"name": n, "key": "k" * 24, "scopes": ["read"]} for n in "ab"]), "listed twice"),
    ("LOGIC_PATHS", "carrier-pigeon", "paths"),
    ("LOGIC_PATHS", "", "paths"),
    ("LOGIC_PATHS", "redis,redis", "twice"),
    ("LOGIC_GATEWAYS", "nowhere", "'nowhere' is not host:port"),
    ("LOGIC_REDIS_URL", "http://localhost", "redis://"),
    ("LOGIC_PORT", "99999", "port"),
    ("LOGIC_PUSH_ACK_TIMEOUT_S", "0", "push_ack_timeout_s"),
    ("LOGIC_LINK_QUEUE_BYTES", "5", "link_queue_bytes"),
    ("LOGIC_SEND_MAX_TEXT", "0", "send_max_text"),
]


@pytest.mark.parametrize(("name", "value", "says"), REFUSED, ids=[f"{row[0]}={row[1]}"[:40] for row in REFUSED])
def test_a_wrong_setting_ends_the_program(
    name: str, value: str | None, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, and one line that names the field and what is wrong; never what the secret was."""
    environ = {key: text for key, text in {**ENOUGH, name: value}.items() if text is not None}
    with pytest.raises(SystemExit) as caught:
        load(environ)
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert says in error
    assert "k" * 24 not in error


def test_secrets_are_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """--print-config shows neither the token, nor a key, nor the password in the address of Redis."""
    with pytest.raises(SystemExit):
        load({**ENOUGH, "LOGIC_REDIS_URL": "redis://:hunter2@h:1/0"}, "--print-config")
    shown = capsys.readouterr().out
    assert "8100" in shown
    for secret in ("t" * 16, "k" * 24, "hunter2"):
        assert secret not in shown

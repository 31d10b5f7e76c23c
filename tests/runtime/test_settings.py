"""Settings: precedence, limits, secrets, and what a person is told about mistakes."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import SettingsConfigDict

from runtime.settings import CommaSeparated, Port, ProcessSettings, load_settings


class Key(BaseModel):
    """A value with parts, one of them secret."""

    name: str
    key: SecretStr


class Settings(ProcessSettings):
    """Settings of an imaginary process."""

    model_config = SettingsConfigDict(env_prefix="DEMO_")

    link_port: Port = Field(default=8001, description="port of the link")
    token: SecretStr | None = Field(default=None, description="shared secret", min_length=4)
    follow: bool = Field(default=True, description="follow the others")
    paths: CommaSeparated = ("a", "b")
    keys: tuple[Key, ...] = ()


def load(argv: Sequence[str] = (), environ: Mapping[str, str] | None = None) -> Settings:
    """Load the settings of the imaginary process."""
    return load_settings(Settings, prog="demo", description="A demo.", argv=argv, environ=environ or {})


def refused(capsys: pytest.CaptureFixture[str], argv: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
    """Return the lines on standard error of settings that are refused with exit code 2."""
    with pytest.raises(SystemExit) as exit_:
        load(argv, environ)
    assert exit_.value.code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "environ", "in_file", "expected"),
    [
        ((), {}, False, 8001),
        ((), {}, True, 1),
        ((), {"DEMO_LINK_PORT": "2"}, False, 2),
        ((), {"DEMO_LINK_PORT": "2"}, True, 2),
        (("--link-port", "3"), {"DEMO_LINK_PORT": "2"}, True, 3),
        (("--link-port=3",), {}, False, 3),
    ],
)
def test_precedence(tmp_path: Path, argv: Sequence[str], environ: dict[str, str], in_file: bool, expected: int) -> None:
    """Flags win over the environment, the environment over the file, the file over the default."""
    if in_file:
        (tmp_path / "demo.toml").write_text("link_port = 1\n")
        argv = [*argv, "--config", str(tmp_path / "demo.toml")]
    assert load(argv, environ).link_port == expected


def test_the_environment_may_name_the_file(tmp_path: Path) -> None:
    """PREFIX_CONFIG names the file when no --config does."""
    (tmp_path / "demo.toml").write_text('paths = ["x"]\n')
    assert load((), {"DEMO_CONFIG": str(tmp_path / "demo.toml")}).paths == ("x",)


def test_only_the_given_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process environment is looked at neither by load_settings nor by making the object directly."""
    monkeypatch.setenv("DEMO_LINK_PORT", "7")
    assert load().link_port == 8001
    assert Settings().link_port == 8001


def test_booleans_have_two_flags() -> None:
    """--follow and --no-follow set a boolean; the environment takes the usual words."""
    assert load(["--no-follow"], {"DEMO_FOLLOW": "true"}).follow is False
    assert load([], {"DEMO_FOLLOW": "0"}).follow is False


@pytest.mark.parametrize(
    ("argv", "environ"),
    [(["--paths", "x, y"], {}), ([], {"DEMO_PATHS": "x,y,"}), (["--paths", "x", "--paths", "y"], {})],
)
def test_words_are_separated_by_commas(argv: Sequence[str], environ: dict[str, str]) -> None:
    """A setting of several words is one value with commas, or a repeated flag."""
    assert load(argv, environ).paths == ("x", "y")


def test_structures_are_json() -> None:
    """A setting with parts is JSON in the environment."""
    (key,) = load([], {"DEMO_KEYS": '[{"name": "n", "key": "k"}]'}).keys
    assert (key.name, key.key.get_secret_value()) == ("n", "k")


def test_settings_are_frozen() -> None:
    """Nobody changes a setting after the start."""
    with pytest.raises(ValidationError, match="frozen"):
        Settings().link_port = 1


@pytest.mark.parametrize(
    ("argv", "environ", "parts"),
    [
        (["--link-port", "70000"], {}, ["link_port (--link-port, DEMO_LINK_PORT)", "65535", "'70000'", "from flag"]),
        ([], {"DEMO_LINK_PORT": "tcp://10.0.0.1:80"}, ["DEMO_LINK_PORT", "integer", "from environment"]),
        ([], {"DEMO_LOG_LEVEL": "loud"}, ["--log-level", "'debug'", "'loud'"]),
        ([], {"DEMO_STOP_SECONDS": "0"}, ["--stop-seconds", "greater than 0"]),
        ([], {"DEMO_KEYS": "[{"}, ["keys (--keys, DEMO_KEYS)", "JSON"]),
        (["--keys", "[{"], {}, ["keys (--keys, DEMO_KEYS)", "JSON"]),
        ([], {"DEMO_KEYS": '[{"name": "n"}]'}, ["keys.0.key", "required"]),
        (["--no-such"], {}, ["unrecognized arguments: --no-such"]),
        (["--link"], {}, ["unrecognized arguments: --link"]),
        (["--config", "/no/such.toml"], {}, ["config: no such file: /no/such.toml"]),
    ],
)
def test_a_mistake_is_named(
    capsys: pytest.CaptureFixture[str], argv: Sequence[str], environ: dict[str, str], parts: Sequence[str]
) -> None:
    """A wrong setting ends with exit code 2 and names the field, its flag and variable, value and limit."""
    message = refused(capsys, argv, environ)
    assert [part for part in parts if part not in message] == []
    assert "Traceback" not in message


def test_all_mistakes_are_listed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Each mistake gets one line, so that one attempt shows them all."""
    lines = refused(capsys, ["--link-port", "-1"], {"DEMO_OPS_PORT": "x\ny", "DEMO_STOP_SECONDS": "z"}).splitlines()
    assert sorted(line.split()[2] for line in lines) == ["link_port", "ops_port", "stop_seconds"]


@pytest.mark.parametrize(
    ("text", "parts"),
    [("no_such = 1", ["no_such: unknown setting"]), ("link_port = {", ["config: cannot read"]), ("\x00", ["config:"])],
)
def test_mistakes_in_the_file(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str, parts: Sequence[str]
) -> None:
    """An unknown key and a malformed file are refused."""
    (tmp_path / "demo.toml").write_text(text)
    message = refused(capsys, ["--config", str(tmp_path / "demo.toml")])
    assert [part for part in parts if part not in message] == []


def test_wrong_secrets_are_not_quoted(capsys: pytest.CaptureFixture[str]) -> None:
    """A secret that is refused does not appear in the message."""
    message = refused(capsys, [], {"DEMO_TOKEN": "abc", "DEMO_KEYS": '[{"name": 1, "key": "hunter2"}]'})
    assert "token (--token, DEMO_TOKEN)" in message
    assert "abc" not in message
    assert "hunter2" not in message


def test_print_config_is_toml_without_secrets(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """--print-config exits 0 with TOML: each value with its origin, secrets as asterisks."""
    (tmp_path / "demo.toml").write_text('log_level = "debug"\n')
    environ = {"DEMO_TOKEN": "swordfish", "DEMO_KEYS": '[{"name": "n", "key": "hunter2"}]'}
    with pytest.raises(SystemExit) as exit_:
        load(["--print-config", "--link-port", "5", "--config", str(tmp_path / "demo.toml")], environ)
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    values = tomllib.loads(text)
    assert (values["token"], values["keys"][0]["key"]) == ("**********", "**********")
    assert (values["link_port"], values["log_level"], values["ops_host"]) == (5, "debug", "127.0.0.1")
    origins = {line.split()[0]: line.rsplit("# ")[-1] for line in text.splitlines()}
    assert origins["link_port"] == "flag"
    assert origins["token"] == "environment"
    assert origins["log_level"] == "file"
    assert origins["ops_host"] == "default"


def test_help_names_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    """--help exits 0 and names each flag, its variable and its default."""
    with pytest.raises(SystemExit) as exit_:
        load(["--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    for name in Settings.model_fields:
        assert f"--{name.replace('_', '-')}" in text
        assert f"DEMO_{name.upper()}" in text

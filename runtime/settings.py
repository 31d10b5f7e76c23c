"""One frozen settings object a process: flags over environment over TOML file over defaults.

pydantic-settings does the layering; this module adds what a server needs around it: the environment is an
argument and read once, every problem is one line that says where the value came from, and
`--print-config` shows the effective values with secrets hidden.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar, get_args

from pydantic import BaseModel, BeforeValidator, Field, SecretBytes, SecretStr, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    CliSettingsSource,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    TomlConfigSettingsSource,
)

from runtime.logs import LogFormat, LogLevel

# The exit code of wrong usage, the same as argparse's; a supervisor should not restart on it.
EXIT_USAGE = 2
# The layers, most important first; also how --print-config names the origin of a value.
LAYERS = ("flag", "environment", "file")


def _split(value: object) -> object:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


# Several words in one value: "a,b" on the command line and in the environment, a list in the file.
CommaSeparated = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
# 0 lets the system choose, which tests use.
Port = Annotated[int, Field(ge=0, le=65535)]


class ProcessSettings(BaseSettings):
    """The settings that every process has. Subclass it, set `env_prefix` and add fields.

    Made directly (in tests) it takes its arguments and defaults only and never looks at the environment;
    `load_settings` is what reads the outside world. Secrets are of type `SecretStr`. Each field's
    `description` is its line in `--help`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", validate_default=True)

    log_level: LogLevel = Field(default="info", description="least severe level that is logged")
    log_format: LogFormat = Field(default="auto", description="auto: JSON unless standard error is a terminal")
    ops_host: str = Field(default="127.0.0.1", description="address of the operations port")
    ops_port: Port = Field(default=0, description="operations port: /livez /readyz /metrics /stats")
    stop_seconds: float = Field(default=10.0, gt=0, le=3600, description="deadline for drain and stop together")

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, *_: Any, **__: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Keep to the arguments: no hidden look at the environment."""
        del settings_cls
        return (init_settings,)


S = TypeVar("S", bound=ProcessSettings)


def load_settings(cls: type[S], *, prog: str, description: str, argv: Sequence[str], environ: Mapping[str, str]) -> S:
    """Read the settings of a process from `argv` (without the program's name), `environ` and a TOML file.

    Exits instead of returning: 0 after `--help` and `--print-config`; 2 when a setting is invalid, a flag
    or a key of the file unknown, or the file missing or malformed, with one line per problem on standard error.
    """
    environment = Environment(cls, environ)
    parser = _parser(prog, description, _prefix(cls))
    flags = CliSettingsSource[Any](cls, root_parser=parser, _env_settings_source=environment, **_CLI_OPTIONS)
    arguments = vars(parser.parse_args(list(argv)))
    show = arguments.pop("print_config")
    file = arguments.pop("config") or environ.get(f"{_prefix(cls)}CONFIG")
    layers: list[dict[str, Any]] = []
    try:
        flags(parsed_args=arguments)
        sources = (flags, environment, _file_source(cls, file, prog))
        layers = [source() for source in sources]
        # The library's way to be given its sources; its typing does not show the parameter.
        given: dict[str, Any] = {"_build_sources": (sources, {})}
        settings = cls(**given)
    except ValidationError as invalid:
        _fail(prog, [_explain(cls, problem, layers) for problem in invalid.errors()])
    except SettingsError as error:
        _fail(prog, [_explain_undecodable(cls, error)])
    if show:
        sys.stdout.write(_render(settings, layers))
        raise SystemExit(0)
    return settings


_CLI_OPTIONS: dict[str, Any] = {
    "cli_kebab_case": True,
    "cli_implicit_flags": True,
    "cli_hide_none_type": True,
    "cli_show_env_vars": True,
}


class Environment(EnvSettingsSource):
    """The library's environment source over a mapping that is handed in, instead of os.environ."""

    def __init__(self, settings_cls: type[BaseSettings], environ: Mapping[str, str]) -> None:
        # The library compares in lower case; names are documented, and accepted, in upper case.
        self._environ = {name.lower(): value for name, value in environ.items() if name == name.upper()}
        super().__init__(settings_cls, case_sensitive=False)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return dict(self._environ)


def _prefix(cls: type[BaseSettings]) -> str:
    return str(cls.model_config.get("env_prefix", ""))


def _parser(prog: str, description: str, prefix: str) -> ArgumentParser:
    parser = ArgumentParser(
        prog=prog,
        description=description,
        epilog="Flags win over the environment, the environment over the file, the file over the defaults.",
        # An abbreviation that works today is ambiguous after the next setting.
        allow_abbrev=False,
    )
    parser.add_argument("--config", metavar="FILE", help=f"TOML file of settings (env: {prefix}CONFIG)")
    parser.add_argument(
        "--print-config", action="store_true", help="print the effective settings, secrets hidden, and exit"
    )
    return parser


def _file_source(cls: type[BaseSettings], file: str | None, prog: str) -> TomlConfigSettingsSource:
    # The library skips a file that does not exist; a file that was named must exist.
    if file is not None and not Path(file).is_file():
        _fail(prog, [f"config: no such file: {file}"])
    try:
        return TomlConfigSettingsSource(cls, toml_file=file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        _fail(prog, [f"config: cannot read {file}: {error}"])


def _fail(prog: str, problems: Sequence[str]) -> NoReturn:
    for problem in problems:
        # One line each, whatever the value that is quoted in it.
        sys.stderr.write(f"{prog}: error: {' '.join(problem.split())}\n")
    raise SystemExit(EXIT_USAGE)


def _explain(cls: type[BaseSettings], problem: ErrorDetails, layers: Sequence[dict[str, Any]]) -> str:
    """Name the field, its flag and variable, what is wrong with the value, and which layer it came from."""
    location = ".".join(str(part) for part in problem["loc"])
    name = str(problem["loc"][0]) if problem["loc"] else ""
    field = cls.model_fields.get(name)
    if field is None:
        if problem["type"] == "extra_forbidden":
            return f"{location}: unknown setting in the file"
        return f"{location or 'settings'}: {problem['msg']}"
    text = f"{location} ({_flag(name)}, {_prefix(cls)}{name.upper()}): {problem['msg']}"
    # What a secret contains stays out of logs even when it is wrong.
    if problem["type"] != "missing" and not _holds_secret(field.annotation) and len(problem["loc"]) == 1:
        text += f", got {problem['input']!r}"
    origin = _origin(name, layers)
    return text if origin == "default" else f"{text} (from {origin})"


def _explain_undecodable(cls: type[BaseSettings], error: SettingsError) -> str:
    """Explain a value that should be JSON and is not. It may be a secret: the reason is shown, not the value."""
    named = re.search(r'(?:field "|encountered for )(\w+)', str(error))
    if named is None:
        return str(error)
    name = named[1]
    reason = error.__cause__ or str(error).rpartition(": ")[2]
    return f"{name} ({_flag(name)}, {_prefix(cls)}{name.upper()}): Input should be valid JSON: {reason}"


def _holds_secret(annotation: object) -> bool:
    """Tell whether a value of this type may contain a secret, at any depth."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return any(_holds_secret(field.annotation) for field in annotation.model_fields.values())
    return annotation in (SecretStr, SecretBytes) or any(_holds_secret(part) for part in get_args(annotation))


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _origin(name: str, layers: Sequence[dict[str, Any]]) -> str:
    return next((layer for layer, values in zip(LAYERS, layers, strict=True) if name in values), "default")


def _render(settings: BaseSettings, layers: Sequence[dict[str, Any]]) -> str:
    """Write the settings as TOML that could be a configuration file, with the origin of each as a comment."""
    lines = []
    for name, value in settings.model_dump(mode="json").items():
        # TOML has no null: a setting without a value is shown, commented out.
        line = f"# {name} =" if value is None else f"{name} = {_toml(value)}"
        lines.append((line, _origin(name, layers)))
    width = max(len(line) for line, _ in lines)
    return "".join(f"{line:<{width}}  # {origin}\n" for line, origin in lines)


def _toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_toml(key)} = {_toml(item)}" for key, item in value.items() if item is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    # Numbers, booleans and strings are written alike in JSON and TOML, except for DEL.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")

"""Which processes make up the platform on one machine, and the environment of each. Pure: starts nothing.

`loadgen up` runs such a plan under a process manager; tests and benchmarks run one with `loadgen.stack.group`.
"""

import json
import secrets
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

HOST = "127.0.0.1"
"""Everything listens on loopback only: the development settings are not for a network."""

LOGIC_API_PORT = 8100
LOGIC_OPS_PORT = 8102
GATEWAY_PORT = 8000
GATEWAY_STEP = 10
"""Each further gateway has its ports this much higher."""

MAX_GATEWAYS = 10
"""The eleventh would run into the ports of logic."""

STOP_SECONDS = 3
"""Less than the 5 s after which the process manager kills; a developer's own viewers need no longer drain."""

DRAIN_SECONDS = 1
"""Of those, for sending viewers away."""

SCOPES = ("publish", "broadcast", "user", "read")


@dataclass(frozen=True, slots=True)
class Secrets:
    """What the parts use to recognise each other; travels in the environment, never on a command line."""

    api_key: str = field(repr=False)
    link_token: str = field(repr=False)

    @classmethod
    def fresh(cls, api_key: str | None = None) -> "Secrets":
        """Make random ones; `api_key` is kept when given."""
        return cls(api_key or secrets.token_urlsafe(24), secrets.token_urlsafe(24))


@dataclass(frozen=True, slots=True)
class GatewayPorts:
    """The ports of one gateway."""

    client: int
    link: int
    ops: int


@dataclass(frozen=True, slots=True)
class LogicPorts:
    """The ports of one logic."""

    api: int
    ops: int


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What the platform should look like.

    `env` adds to or overrides the environment of parts, by the part's name (`gateway-1`, `logic-1`, `demo`; with a
    single logic its name is `logic`).
    """

    redis_url: str
    secrets: Secrets
    gateways: tuple[GatewayPorts, ...]
    logics: tuple[LogicPorts, ...]
    demo: bool = False
    name_suffix: str = ""
    env: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PortUse:
    """A port that a part will listen on, and what for."""

    port: int
    purpose: str


@dataclass(frozen=True, slots=True)
class Part:
    """One process. `env` comes on top of the environment of whoever starts it, and holds secrets.

    `ready_url` answers 200 once the part can be used; None where there is nothing to ask.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: tuple[PortUse, ...] = ()
    ready_url: str | None = None

    @property
    def command(self) -> str:
        """The command line for a shell, which replaces itself so that signals reach the part."""
        return "exec " + shlex.join(self.argv)


def laptop_gateways(count: int, offset: int = 0) -> tuple[GatewayPorts, ...]:
    """Return the documented ports of the first `count` gateways, each raised by `offset`."""
    firsts = range(GATEWAY_PORT + offset, GATEWAY_PORT + offset + count * GATEWAY_STEP, GATEWAY_STEP)
    return tuple(GatewayPorts(client=first, link=first + 1, ops=first + 2) for first in firsts)


def laptop_logic(offset: int = 0) -> LogicPorts:
    """Return the documented ports of logic, each raised by `offset`."""
    return LogicPorts(api=LOGIC_API_PORT + offset, ops=LOGIC_OPS_PORT + offset)


def plan_stack(options: StackOptions) -> list[Part]:
    """Return the parts in the order in which they should start: logics, gateways, demo publisher."""
    logics = [_logic(options, index) for index in range(len(options.logics))]
    gateways = [_gateway(options, index) for index in range(len(options.gateways))]
    return [*logics, *gateways, *([_demo(options)] if options.demo else [])]


def plan_redis(binary: Path, port: int, directory: Path) -> Part:
    """Return a Redis that keeps nothing on disk; `directory` is where it would, and is the caller's to remove."""
    argv = (str(binary), "--bind", HOST, "--port", str(port), "--dir", str(directory))
    volatile = ("--save", "", "--appendonly", "no", "--daemonize", "no", "--loglevel", "warning")
    return Part("redis", (*argv, *volatile), ports=(PortUse(port, "redis"),))


def _gateway(options: StackOptions, index: int) -> Part:
    ports = options.gateways[index]
    name = f"gateway-{index + 1}"
    env = {
        "GATEWAY_NAME": name + options.name_suffix,
        "GATEWAY_HOST": HOST,
        "GATEWAY_PORT": str(ports.client),
        "GATEWAY_LINK_HOST": HOST,
        "GATEWAY_LINK_PORT": str(ports.link),
        "GATEWAY_LINK_ADDRESS": f"{HOST}:{ports.link}",
        "GATEWAY_LINK_TOKEN": options.secrets.link_token,
        "GATEWAY_OPS_HOST": HOST,
        "GATEWAY_OPS_PORT": str(ports.ops),
        "GATEWAY_REDIS_URL": options.redis_url,
        "GATEWAY_ANONYMOUS": "true",
        "GATEWAY_DRAIN_SECONDS": str(DRAIN_SECONDS),
        "GATEWAY_STOP_SECONDS": str(STOP_SECONDS),
        "GATEWAY_LOG_FORMAT": "console",
    }
    uses = (
        PortUse(ports.client, f"viewers of {name}"),
        PortUse(ports.link, f"links to {name}"),
        PortUse(ports.ops, f"operations of {name}"),
    )
    return _part(options, name, ("-m", "gateway"), env, uses, f"http://{HOST}:{ports.ops}/readyz")


def _logic(options: StackOptions, index: int) -> Part:
    ports = options.logics[index]
    name = "logic" if len(options.logics) == 1 else f"logic-{index + 1}"
    key = {"name": "development", "key": options.secrets.api_key, "scopes": SCOPES}
    env = {
        "LOGIC_HOST": HOST,
        "LOGIC_PORT": str(ports.api),
        "LOGIC_OPS_HOST": HOST,
        "LOGIC_OPS_PORT": str(ports.ops),
        "LOGIC_REDIS_URL": options.redis_url,
        "LOGIC_LINK_TOKEN": options.secrets.link_token,
        "LOGIC_API_KEYS": json.dumps([key]),
        "LOGIC_SEND_REQUIRES_AUTH": "false",
        "LOGIC_LOOPBACK_WITHOUT_KEY": "true",
        "LOGIC_STOP_SECONDS": str(STOP_SECONDS),
        "LOGIC_LOG_FORMAT": "console",
    }
    uses = (PortUse(ports.api, f"push API of {name}"), PortUse(ports.ops, f"operations of {name}"))
    return _part(options, name, ("-m", "logic"), env, uses, f"http://{HOST}:{ports.ops}/readyz")


def _demo(options: StackOptions) -> Part:
    url = f"http://{HOST}:{options.logics[0].api}"
    env = {"LOADGEN_API_KEY": options.secrets.api_key}
    return _part(options, "demo", ("-m", "loadgen", "demo", "--url", url), env, (), None)


def _part(
    options: StackOptions,
    name: str,
    arguments: tuple[str, ...],
    env: Mapping[str, str],
    ports: tuple[PortUse, ...],
    ready_url: str | None,
) -> Part:
    # Unbuffered, or a part's last words would be lost when it is killed.
    whole = {"PYTHONUNBUFFERED": "1", **env, **options.env.get(name, {})}
    return Part(name, (sys.executable, *arguments), whole, ports, ready_url)

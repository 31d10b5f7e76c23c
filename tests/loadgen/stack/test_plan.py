"""The plan of processes: which parts, which environment, which ports."""

import json
from pathlib import Path

from loadgen.stack.plan import (
    MAX_GATEWAYS,
    GatewayPorts,
    LogicPorts,
    Part,
    Secrets,
    StackOptions,
    laptop_gateways,
    laptop_logic,
    plan_redis,
    plan_stack,
)

SECRETS = Secrets("the-api-key", "the-link-token")
REDIS = "redis://:hidden@127.0.0.1:6379/0"


def plan(**changes: object) -> dict[str, Part]:
    """Plan the stack of a laptop with some options changed, by name."""
    options = {"redis_url": REDIS, "secrets": SECRETS, "gateways": laptop_gateways(2), "logics": (laptop_logic(),)}
    return {part.name: part for part in plan_stack(StackOptions(**{**options, **changes}))}  # type: ignore[arg-type]


def test_the_laptop_has_the_documented_ports() -> None:
    """The first gateway is on 8000 to 8002, the second ten higher, logic on 8100 and 8102."""
    assert laptop_gateways(2) == (GatewayPorts(8000, 8001, 8002), GatewayPorts(8010, 8011, 8012))
    assert laptop_logic() == LogicPorts(8100, 8102)


def test_an_offset_moves_every_port() -> None:
    """With an offset no port of the stack stays where it was, so that two stacks can run side by side."""
    ports = {use.port for part in plan().values() for use in part.ports}
    moved = plan(gateways=laptop_gateways(2, 1000), logics=(laptop_logic(1000),))
    assert {use.port for part in moved.values() for use in part.ports} == {port + 1000 for port in ports}


def test_no_two_parts_share_a_port() -> None:
    """Even the largest stack has each port once."""
    parts = plan(gateways=laptop_gateways(MAX_GATEWAYS)).values()
    ports = [use.port for part in parts for use in part.ports]
    assert len(ports) == len(set(ports)) == 3 * MAX_GATEWAYS + 2


def test_secrets_are_never_on_a_command_line_nor_shown() -> None:
    """Keys, tokens and the address of Redis travel in the environment only, and repr hides that."""
    parts = plan(demo=True)
    shown = repr(parts) + repr(SECRETS) + " ".join(part.command for part in parts.values())
    for secret in (SECRETS.api_key, SECRETS.link_token, REDIS):
        assert secret not in shown
        assert any(secret in value for part in parts.values() for value in part.env.values())


def test_fresh_secrets_differ_each_time() -> None:
    """Each start has its own random key and token, unless a key is given."""
    first, second = Secrets.fresh(), Secrets.fresh("stable")
    assert second.api_key == "stable"
    assert len({first.api_key, first.link_token, second.api_key, second.link_token}) == 4
    assert len(first.link_token) >= 32


def test_both_tiers_hold_the_same_token_and_redis() -> None:
    """Logic and gateways agree on the link token and on Redis; the demo publisher's key is one that logic knows."""
    parts = plan(demo=True)
    assert {part.env["GATEWAY_LINK_TOKEN"] for name, part in parts.items() if name.startswith("gateway")} == {
        parts["logic"].env["LOGIC_LINK_TOKEN"]
    }
    assert parts["gateway-1"].env["GATEWAY_REDIS_URL"] == parts["logic"].env["LOGIC_REDIS_URL"] == REDIS
    (key,) = json.loads(parts["logic"].env["LOGIC_API_KEYS"])
    assert key["key"] == parts["demo"].env["LOADGEN_API_KEY"]


def test_environment_of_a_part_can_be_overridden() -> None:
    """Tests and benchmarks change single settings of single parts by name."""
    parts = plan(env={"gateway-2": {"GATEWAY_TICK_MS": "50", "GATEWAY_ANONYMOUS": "false"}})
    assert parts["gateway-2"].env["GATEWAY_TICK_MS"] == "50"
    assert parts["gateway-2"].env["GATEWAY_ANONYMOUS"] == "false"
    assert "GATEWAY_TICK_MS" not in parts["gateway-1"].env


def test_several_logics_are_numbered() -> None:
    """One logic is called logic; several are logic-1, logic-2, each with its own ports."""
    parts = plan(logics=(LogicPorts(1, 2), LogicPorts(3, 4)))
    assert [name for name in parts if name.startswith("logic")] == ["logic-1", "logic-2"]
    assert parts["logic-2"].env["LOGIC_PORT"] == "3"


def test_the_demo_is_only_there_when_wanted() -> None:
    """Without the demo publisher nothing publishes by itself."""
    assert "demo" not in plan()
    assert list(plan(demo=True))[-1] == "demo"


def test_redis_keeps_nothing_on_disk() -> None:
    """A Redis of our own neither saves snapshots nor appends to a log, and listens on loopback."""
    part = plan_redis(Path("/opt/redis server"), 7000, Path("/tmp/x"))
    assert part.argv[part.argv.index("--save") + 1] == ""
    assert part.argv[part.argv.index("--appendonly") + 1] == "no"
    assert part.argv[part.argv.index("--bind") + 1] == "127.0.0.1"
    assert part.command.startswith("exec '/opt/redis server' ")

"""What a person reads when the platform is up: what to open and what to type. Pure."""

import shlex
from collections.abc import Mapping

from loadgen.stack.plan import StackOptions
from loadgen.stack.redis import ExternalRedis, RedisBinary

RULE = "─" * 78


def banner(options: StackOptions, redis: ExternalRedis | RedisBinary) -> str:
    """Return the text to print once every part is ready. It shows the development key, as it must."""
    # The room is named, because the page would otherwise open the one that was used last.
    pages = [f"http://localhost:{ports.client}/?room=live" for ports in options.gateways]
    api = f"http://localhost:{options.logics[0].api}"
    where = f"at {redis.address}" if isinstance(redis, ExternalRedis) else f"from {redis.path}"
    lines = [
        "",
        RULE,
        "danmaku-push is up. Open a page; each is served by a gateway of its own:",
        "",
        *(f"    {page}" for page in pages),
        "",
        "Push a danmaku to everybody who watches the room `live`:",
        "",
        _curl(f"{api}/v1/rooms/live/messages", options.secrets.api_key),
        "",
        f"API      {api}/docs",
        f"Numbers  {_stats(options)}",
        f"Redis    {where}",
        "Ctrl-C stops everything.",
        RULE,
        "",
    ]
    return "\n".join(lines)


def not_ready(missing: Mapping[str, str], after_s: float) -> str:
    """Return the text to print when some parts did not become ready in time."""
    lines = [f"    {name}: {answer}" for name, answer in missing.items()]
    return "\n".join(["", f"Not ready after {after_s:.0f} s (still trying; Ctrl-C stops everything):", *lines, ""])


def _curl(url: str, key: str) -> str:
    data = '{"data": {"type": "danmaku", "text": "hello from curl", "color": "#ffd166", "user": {"id": "curl"}}}'
    # One line: a line break that is pasted with a label or a prompt would end the command.
    header = shlex.quote(f"Authorization: Bearer {key}")
    return f"curl -H {header} -H 'Content-Type: application/json' -d {shlex.quote(data)} {url}"


def _stats(options: StackOptions) -> str:
    ports = [options.logics[0].ops, *(gateway.ops for gateway in options.gateways)]
    return " ".join(f"http://localhost:{port}/stats" for port in ports)

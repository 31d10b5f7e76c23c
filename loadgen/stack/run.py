"""`loadgen up`: the whole platform on a laptop until Ctrl-C."""

import asyncio
import io
import signal
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from loadgen.stack.banner import banner, not_ready
from loadgen.stack.manager import STOP_SIGNALS, StackManager, signals_held
from loadgen.stack.plan import (
    HOST,
    Part,
    Secrets,
    StackOptions,
    laptop_gateways,
    laptop_logic,
    plan_redis,
    plan_stack,
)
from loadgen.stack.ports import redis_port, require_free
from loadgen.stack.ready import wait_ready
from loadgen.stack.redis import ExternalRedis, find_redis, require_reachable

READY_TIMEOUT_S = 60.0
"""A laptop that compiles Python files for the first time needs 10 s."""

EXIT_FAILED = 1


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What a person may choose about the stack on a laptop."""

    gateways: int = 2
    port_offset: int = 0
    demo: bool = True


def up(options: UpOptions, environ: Mapping[str, str], output: TextIO | None = None) -> int:
    """Run the platform until a signal; return the exit code.

    Raises `LoadgenError` before anything has started when a port is taken or there is no Redis.
    """
    redis = find_redis(environ)
    with ExitStack() as cleanup:
        if isinstance(redis, ExternalRedis):
            asyncio.run(require_reachable(redis))
            url, own = redis.url, []
        else:
            # Signals wait until the parts run, or one that came now would leave the directory behind.
            cleanup.enter_context(signals_held())
            directory = cleanup.enter_context(tempfile.TemporaryDirectory(prefix="danmaku-redis-"))
            port = redis_port(options.port_offset)
            url = f"redis://{HOST}:{port}/0"
            own = [plan_redis(redis.path, port, Path(directory))]
        stack = _stack_options(options, url, environ)
        parts = [*own, *plan_stack(stack)]
        require_free(parts, options.port_offset)
        return run_parts(parts, environ, output or sys.stdout, banner(stack, redis))


def _stack_options(options: UpOptions, redis_url: str, environ: Mapping[str, str]) -> StackOptions:
    offset = options.port_offset
    return StackOptions(
        redis_url=redis_url,
        secrets=Secrets.fresh(environ.get("DANMAKU_DEV_KEY")),
        gateways=laptop_gateways(options.gateways, offset),
        logics=(laptop_logic(offset),),
        demo=options.demo,
        # Two stacks may share one Redis, where a gateway's name says which it is.
        name_suffix=f"+{offset}" if offset else "",
    )


def run_parts(parts: Sequence[Part], environ: Mapping[str, str], output: TextIO, when_ready: str) -> int:
    """Run `parts` until a signal or until one ends, and print `when_ready` once all are ready.

    Returns 0 when asked to stop, else the exit code of the part that ended first (1 when that was 0, 128 + n after
    signal n). Call it from the main thread.
    """

    def announce() -> None:
        missing = asyncio.run(wait_ready(parts, READY_TIMEOUT_S))
        manager.say(not_ready(missing, READY_TIMEOUT_S) if missing else when_ready)

    if isinstance(output, io.TextIOWrapper):
        # A part may print what the terminal's encoding has no bytes for; that is no reason to fall.
        output.reconfigure(errors="backslashreplace")
    # A thread beside honcho's loop; a daemon, because it may still be asking when the stack is stopped.
    announcer = threading.Thread(target=announce, name="announce", daemon=True)
    manager = StackManager(output, on_started=announcer.start)
    for part in parts:
        manager.add(part, environ)
    with signals_held():
        manager.loop()
        # What remains is cleaning up, which an impatient Ctrl-C should not cut short.
        for number in STOP_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
    if manager.died is None:
        return 0
    name, code = manager.died
    print(f"loadgen: {name} ended with {_describe(code)}; everything was stopped", file=sys.stderr)
    return _exit_code(code)


def _describe(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _exit_code(code: int) -> int:
    return 128 - code if code < 0 else code or EXIT_FAILED

"""Running one of our commands as a person does, and looking at what it leaves behind."""

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from loadgen.errors import LoadgenError
from loadgen.stack.plan import Secrets, StackOptions, laptop_gateways, laptop_logic, plan_stack
from loadgen.stack.ports import require_free

PATIENCE_S = 60.0
STARTED = re.compile(r"started \(pid=(\d+)\)")


class Command:
    """A running command and the lines that it has printed."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self.errors = ""

    async def line_with(self, text: str) -> str:
        """Read on until a line contains `text`, and return that line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            while raw := await self.process.stdout.readline():
                line = raw.decode("utf-8", "replace").rstrip("\n")
                self.lines.append(line)
                if text in line:
                    return line
        raise AssertionError(f"ended without printing {text!r}:\n{self.output}")

    async def end(self) -> int:
        """Read to the end and return the exit code; `errors` then holds standard error."""
        async with asyncio.timeout(PATIENCE_S):
            out, err = await self.process.communicate()
        self.lines += (out or b"").decode("utf-8", "replace").splitlines()
        assert self.process.returncode is not None
        self.errors = err.decode("utf-8", "replace")
        return self.process.returncode

    @property
    def output(self) -> str:
        """Everything that was read so far."""
        return "\n".join(self.lines)

    @property
    def part_pids(self) -> list[int]:
        """The process ids of the parts that were started, each the leader of its process group."""
        return [int(pid) for pid in STARTED.findall(self.output)]

    def surviving_groups(self) -> list[int]:
        """Return the process groups of parts that still have a member."""
        return [pid for pid in self.part_pids if _group_exists(pid)]


def _group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@asynccontextmanager
async def running(*arguments: str, env: Mapping[str, str] | None = None) -> AsyncIterator[Command]:
    """Run `python ARGUMENTS` for the length of the block; whatever is left of it then is killed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        env={**os.environ, **(env or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    command = Command(process)
    try:
        yield command
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        for group in command.surviving_groups():
            os.killpg(group, 9)


def free_offset() -> int:
    """Return a port offset at which a whole stack finds its ports free."""
    for offset in range(2_000, 24_000, 200):
        stack = StackOptions("", Secrets.fresh(), laptop_gateways(2, offset), (laptop_logic(offset),))
        try:
            require_free(plan_stack(stack))
        except LoadgenError:
            continue
        return offset
    raise AssertionError("no free ports")

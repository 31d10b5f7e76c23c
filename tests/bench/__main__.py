"""`make bench`: the table of figures, measured on this machine, now. Never part of the tests."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.fanout import measure_fanout
from tests.bench.measure import Result, machine
from tests.bench.push import measure_push
from tests.redis_server import RedisServer

SECTIONS = ("fanout", "push")


def main() -> int:
    """Measure what was asked for and print it; exit 1 when a figure was not reached."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], help="default: all")
    parser.add_argument("--viewers", type=int, default=10_000, help="connections of the fan-out rows (default: 10,000)")
    arguments = parser.parse_args()
    console = Console(width=160)
    console.print(f"[bold]danmaku-push bench[/bold]: {machine()}")
    with console.status("measuring, about two minutes"):
        results = asyncio.run(measure(arguments.sections or list(SECTIONS), arguments.viewers))
    console.print(table(results))
    return 1 if any(result.reached is False for result in results) else 0


async def measure(sections: list[str], viewers: int) -> list[Result]:
    """Run the sections one after the other, each on a Redis of its own."""
    results: list[Result] = []
    for section in sections:
        server = RedisServer()
        server.start()
        try:
            with tempfile.TemporaryDirectory(prefix="bench-") as name:
                if section == "fanout":
                    results += await measure_fanout(Path(name), server.url, viewers)
                else:
                    results += await measure_push(Path(name), server.url)
        finally:
            server.stop()
    return results


def table(results: list[Result]) -> Table:
    """Lay the results out for a person."""
    rows = Table()
    for column in ("figure", "measured", "to reach", "", "note"):
        rows.add_column(column, justify="right" if column == "measured" else "left")
    for result in results:
        mark = {None: "", True: "[green]reached[/green]", False: "[red]not reached[/red]"}[result.reached]
        rows.add_row(result.figure, result.value, result.reach, mark, result.note)
    return rows


if __name__ == "__main__":
    sys.exit(main())

"""What the benchmarks measure with: CPU time and memory of another process, and the results they return."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Result:
    """One row of the table. `reach` is the figure to reach, in words; `reached` None where there is none."""

    figure: str
    value: str
    reach: str = ""
    reached: bool | None = None
    note: str = ""


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process over all its threads, user and system, to the nanosecond (schedstat)."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


def memory_bytes(pid: int) -> int:
    """Return a process' proportional set size in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no Pss for process {pid}")


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """Return the median, which a single disturbed run does not move."""
    return statistics.median(values)


def machine() -> str:
    """Describe this machine and its load in one line."""
    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        "unknown processor",
    )
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, {model}, load {load:.2f} at the start"

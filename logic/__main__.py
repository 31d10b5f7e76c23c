"""`danmaku-logic`, also `python -m logic`."""

import sys
from collections.abc import Sequence

from logic.app import LogicService
from logic.settings import LogicSettings
from runtime.program import run_program

DESCRIPTION = "Takes pushes from business services over HTTP, gives them their order, and sends them to every gateway."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a logic until it is told to stop; returns the exit code."""
    return run_program(LogicSettings, LogicService, prog="danmaku-logic", description=DESCRIPTION, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

"""`danmaku-gateway`, also `python -m gateway`."""

import sys
from collections.abc import Sequence

from gateway.app import GatewayService
from gateway.settings import GatewaySettings
from runtime.program import run_program

DESCRIPTION = "Holds the connections of viewers and writes each room's messages to them, one frame per tick."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a gateway until it is told to stop; returns the exit code."""
    return run_program(GatewaySettings, GatewayService, prog="danmaku-gateway", description=DESCRIPTION, argv=argv)


if __name__ == "__main__":
    sys.exit(main())

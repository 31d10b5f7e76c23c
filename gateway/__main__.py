"""`danmaku-gateway`, also `python -m gateway`."""

import os
import sys
from collections.abc import Sequence

from gateway.app import GatewayService
from gateway.settings import GatewaySettings
from runtime.lifecycle import run_service
from runtime.logs import configure_logging, get_logger
from runtime.settings import load_settings

DESCRIPTION = "Holds the connections of viewers and writes each room's messages to them, one frame per tick."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a gateway until it is told to stop; returns the exit code."""
    settings = load_settings(
        GatewaySettings,
        prog="danmaku-gateway",
        description=DESCRIPTION,
        argv=sys.argv[1:] if argv is None else argv,
        environ=os.environ,
    )
    configure_logging(settings.log_level, settings.log_format)
    return run_service(
        lambda: GatewayService(settings), stop_seconds=settings.stop_seconds, logger=get_logger("gateway")
    )


if __name__ == "__main__":
    sys.exit(main())

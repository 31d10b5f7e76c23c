"""What `main` of every program does: settings, logs, then the service until it is told to stop."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

from runtime.lifecycle import Service, run_service
from runtime.logs import configure_logging, get_logger
from runtime.settings import ProcessSettings, load_settings

S = TypeVar("S", bound=ProcessSettings)


def run_program(
    settings_class: type[S], make: Callable[[S], Service], *, prog: str, description: str, argv: Sequence[str] | None
) -> int:
    """Run a program and return its exit code.

    `argv` is without the program's name, None for the process' own. Exits instead (`load_settings`) with 0 after
    `--help` and `--print-config`, and with 2 when a setting is invalid.
    """
    arguments = sys.argv[1:] if argv is None else argv
    settings = load_settings(settings_class, prog=prog, description=description, argv=arguments, environ=os.environ)
    configure_logging(settings.log_level, settings.log_format)
    return run_service(lambda: make(settings), stop_seconds=settings.stop_seconds, logger=get_logger(prog))

"""What stops a command, said in one line."""


class LoadgenError(Exception):
    """A reason that a person can act on; the command line shows it without a traceback and exits with `exit_code`."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code

"""Entry point of `loadgen` and of `python -m loadgen`."""

from loadgen.cli import cli


def main() -> None:
    """Run the command line; click turns the result into the exit code."""
    cli(prog_name="loadgen")


# Guarded, because a process manager that spawns rather than forks imports the main module again.
if __name__ == "__main__":
    main()

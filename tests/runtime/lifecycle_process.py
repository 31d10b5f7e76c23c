"""A process that lives by runtime.lifecycle, for tests that send it signals: `python -m ... MODE PORT`."""

from __future__ import annotations

import asyncio
import sys
import time

from runtime.lifecycle import Background, listening, run_service
from runtime.logs import configure_logging, get_logger

LOGGER = get_logger("demo")


def say(word: str) -> None:
    """Tell the test how far this process has come."""
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


class Demo:
    """A service that misbehaves as its mode says."""

    def __init__(self, mode: str, port: int) -> None:
        self.mode = mode
        self.port = port
        self.background = Background(LOGGER)
        self.server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen, or hang, or fail."""
        say("starting")
        if self.mode == "hang-in-start":
            await asyncio.Event().wait()
        if self.mode == "bug-in-start":
            raise LookupError("a bug")
        with listening("127.0.0.1", self.port):
            self.server = await asyncio.start_server(lambda *_: None, "127.0.0.1", self.port)
        if self.mode == "task-dies":
            self.background.spawn(self._die(), "doomed")
        say("started")

    async def drain(self) -> None:
        """Leave, or never."""
        say("draining")
        if self.mode == "block-in-drain":
            time.sleep(60)  # noqa: ASYNC251 - a stuck event loop is the case under test
        while self.mode == "hang-in-drain":
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                say("cancelled")

    async def stop(self) -> None:
        """Close."""
        say("stopping")
        if self.server is not None:
            self.server.close()
        await self.background.cancel()

    async def _die(self) -> None:
        raise RuntimeError("died of itself")


if __name__ == "__main__":
    configure_logging("info", "json")
    sys.exit(run_service(lambda: Demo(sys.argv[1], int(sys.argv[2])), stop_seconds=0.5, logger=LOGGER))

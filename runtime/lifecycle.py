"""The life of a process: start, serve, drain, stop, with one deadline and an honest exit code.

Signal handlers only record; the work happens in the event loop. The order is always the same:

    make() -> start() -> a signal, or a background task that died -> drain() -> stop() -> exit code

A second signal ends the process at once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from runtime.logs import Logger

EXIT_OK = 0
EXIT_FAILED = 1

# The share of the deadline that drain() may use, so that stop() always has its turn to close sockets.
DRAIN_SHARE = 0.8
# How long after the deadline the process is ended from outside the event loop, should the loop itself be
# stuck (a task that swallows cancellation, a thread that never returns).
OVERRUN_GRACE_S = 1.0


class StartError(Exception):
    """The service cannot start, for a reason that one line explains; shown without a traceback."""


class Service(Protocol):
    """What a process does between its first and its last moment.

    A service that owns a `Background` exposes it as the attribute `background`; `run_service` then ends
    the process, in order and with exit code 1, when one of its tasks dies.
    """

    async def start(self) -> None:
        """Open everything. Raise `StartError` when a person has to act; `stop` is called all the same."""

    async def drain(self) -> None:
        """Leave service gently: turn not ready, refuse newcomers, send the others away."""

    async def stop(self) -> None:
        """Close everything. Called once, even after a start that failed half-way."""


class Background:
    """Owns background tasks, so that none dies unnoticed and all end with their owner."""

    def __init__(self, logger: Logger, on_failure: Callable[[BaseException], None] | None = None) -> None:
        self._logger = logger
        self._on_failure = on_failure
        self._tasks: set[asyncio.Task[Any]] = set()
        self.failed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Background tasks={len(self._tasks)} failed={self.failed.is_set()}>"

    def spawn(self, coro: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Start `coro` as a task. If it raises, that is logged and the service fails."""
        task = asyncio.get_running_loop().create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def cancel(self) -> None:
        """Cancel every task and wait until all have ended."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            return
        error = task.exception()
        if error is None:
            return
        self._logger.error("background task died", task=task.get_name(), error=repr(error), exc_info=error)
        self.failed.set()
        if self._on_failure is not None:
            self._on_failure(error)


@contextmanager
def listening(host: str, port: int) -> Iterator[None]:
    """Turn an OSError from opening a listener into a `StartError` that names host and port."""
    try:
        yield
    except OSError as error:
        # asyncio wraps the reason in a sentence of its own; the number's text is the part worth reading.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise StartError(f"cannot listen on {host}:{port}: {reason}") from error


def run_service(make: Callable[[], Service], *, stop_seconds: float, logger: Logger) -> int:
    """Run a service until SIGTERM, SIGINT or a failure, and return the exit code.

    `make` is called inside the running event loop (uvloop where it is installed). `stop_seconds` is the
    one deadline for drain and stop together. 0: asked to stop and stopped in time. 1: failed to start,
    failed while running, or overran the deadline.
    """
    run = _Run(make, stop_seconds, logger)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(run.main())
    finally:
        run.disarm()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class _Run:
    """One run of one service: its signals, its deadline, its verdict."""

    def __init__(self, make: Callable[[], Service], stop_seconds: float, logger: Logger) -> None:
        self._make = make
        self._stop_seconds = stop_seconds
        self._logger = logger
        self._asked = asyncio.Event()
        self._watchdog: threading.Timer | None = None

    async def main(self) -> int:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._signalled, number)
        try:
            service = self._make()
        except Exception as error:
            self._log_start_failure(error)
            return EXIT_FAILED
        served = await self._serve(service)
        ended = await self._end(service, drain=served is not None)
        return EXIT_OK if served and ended else EXIT_FAILED

    async def _serve(self, service: Service) -> bool | None:
        """Start and wait for the end. True: asked to stop; False: failed; None: never started."""
        start = asyncio.ensure_future(service.start())
        asked = asyncio.ensure_future(self._asked.wait())
        await asyncio.wait((start, asked), return_when=asyncio.FIRST_COMPLETED)
        if not start.done():
            self._logger.info("asked to stop while starting")
            start.cancel()
        try:
            await start
        except asyncio.CancelledError:
            asked.cancel()
            return True
        except Exception as error:
            asked.cancel()
            self._log_start_failure(error)
            return None
        self._logger.info("started")
        return await self._wait(service, asked)

    async def _wait(self, service: Service, asked: asyncio.Future[Any]) -> bool:
        waits = [asked]
        background = getattr(service, "background", None)
        if isinstance(background, Background):
            waits.append(asyncio.ensure_future(background.failed.wait()))
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()
        return not (isinstance(background, Background) and background.failed.is_set())

    async def _end(self, service: Service, *, drain: bool) -> bool:
        """Drain and stop under the one deadline; False when that did not work."""
        self._arm()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._stop_seconds
        in_time = True
        if drain:
            in_time = await self._step("drain", service.drain, loop.time() + self._stop_seconds * DRAIN_SHARE)
        in_time = await self._step("stop", service.stop, deadline) and in_time
        self._logger.info("stopped", in_time=in_time)
        return in_time

    async def _step(self, name: str, step: Callable[[], Coroutine[Any, Any, None]], until: float) -> bool:
        # A task that is abandoned at the deadline, rather than a timeout that waits for the step to take
        # its cancellation: a step that swallows cancellation must not take the deadline with it.
        task = asyncio.ensure_future(step())
        done, _ = await asyncio.wait((task,), timeout=max(0.0, until - asyncio.get_running_loop().time()))
        if not done:
            task.cancel()
            self._logger.error("deadline overrun", step=name, stop_seconds=self._stop_seconds)
            return False
        if task.cancelled() or (error := task.exception()) is None:
            return not task.cancelled()
        self._logger.error("step failed", step=name, error=repr(error), exc_info=error)
        return False

    def _signalled(self, number: signal.Signals) -> None:
        if self._asked.is_set():
            self._logger.warning("second signal, ending at once", signal=number.name)
            os._exit(128 + number)
        self._logger.info("asked to stop", signal=number.name, stop_seconds=self._stop_seconds)
        self._asked.set()

    def _log_start_failure(self, error: Exception) -> None:
        known = isinstance(error, (StartError, OSError))
        reason = str(error) if known else repr(error)
        self._logger.error("cannot start", reason=reason, exc_info=None if known else error)

    def _arm(self) -> None:
        self._watchdog = threading.Timer(self._stop_seconds + OVERRUN_GRACE_S, os._exit, (EXIT_FAILED,))
        self._watchdog.daemon = True
        self._watchdog.start()

    def disarm(self) -> None:
        if self._watchdog is not None:
            self._watchdog.cancel()

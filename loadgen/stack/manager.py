"""honcho's process manager with the few guarantees that a stack on a laptop needs on top.

* A signal is never lost and never met half-way: signals wait while the parts are forked, and a wish to stop that
  comes before every part has reported its process id is kept until then.
* A second Ctrl-C kills. The window that closes (SIGHUP) and a reader that goes away (EPIPE) stop the stack too.
* Whatever goes wrong in here, no part is left behind.
"""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TextIO

from honcho.manager import Manager
from honcho.printer import Message, Printer
from honcho.process import Popen, Process

from loadgen.stack.plan import Part

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

IMPATIENCE_S = 0.5
"""A second signal kills only after this time: one Ctrl-C may arrive twice, from the terminal and from make."""


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Keep stop signals waiting inside the block."""
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        yield
    finally:
        _release_signals()


def _release_signals() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOP_SIGNALS)


class StackManager(Manager):  # type: ignore[misc]  # honcho has no types
    """Runs parts side by side with labelled output; when one ends, all end.

    After `loop`, `died` names the part that ended first and its exit code (negative: the signal that ended it); it is
    None when the stack was asked to stop. Use `loop` inside `signals_held`, from the main thread.
    """

    def __init__(self, output: TextIO, on_started: Callable[[], None]) -> None:
        super().__init__(_StackPrinter(output, self.ask_to_stop))
        self._process_ctor = _StackProcess
        self._on_started = on_started
        self._asked_at: float | None = None
        self.died: tuple[str, int] | None = None

    def __repr__(self) -> str:
        return f"<StackManager parts={list(self._processes)} asked={self._asked_at is not None} died={self.died}>"

    def add(self, part: Part, environ: Mapping[str, str]) -> None:
        """Add a part that gets `environ` and its own environment on top."""
        self.add_process(part.name, part.command, env={**environ, **part.env})

    def loop(self) -> None:
        """Run until every part has ended."""
        try:
            super().loop()
        finally:
            # Nothing is left after a normal end; after an exception this is what cleans up.
            self.kill()

    def say(self, text: str) -> None:
        """Print lines without a label, from any thread, once the parts have been started."""
        self.events.put(Message(type="line", data=text, time=datetime.now(), name=None, colour=None))

    def ask_to_stop(self) -> None:
        """End every part because somebody wants so, which is not a failure."""
        if self._asked_at is None and not self._terminating:
            self._asked_at = time.monotonic()
        self.terminate()

    def terminate(self) -> None:
        """End every part, once all have started."""
        if self._terminating or not self._all_started():
            return
        if self._asked_at is None:
            ended = ((name, state["returncode"]) for name, state in self._processes.items() if "returncode" in state)
            self.died = next(ended, None)
        super().terminate()

    def _start(self) -> None:
        super()._start()
        for number in STOP_SIGNALS:
            signal.signal(number, self._signalled)
        _release_signals()
        self._on_started()

    def _signalled(self, _number: int, _frame: object) -> None:
        # Nothing is printed here: the signal may have interrupted a print, which cannot be entered twice.
        if self._asked_at is not None and time.monotonic() - self._asked_at > IMPATIENCE_S:
            self.kill()
        else:
            self.ask_to_stop()

    def _killall(self, force: bool = False) -> None:
        for state in self._processes.values():
            if state.get("pid") is not None and "returncode" not in state:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(state["pid"], signal.SIGKILL if force else signal.SIGTERM)

    def _system_print(self, data: str) -> None:
        super()._system_print(data)
        # honcho reports each start here; the last one is when an early wish to stop can be met.
        if self._asked_at is not None:
            self.terminate()


class _StackPrinter(Printer):  # type: ignore[misc]
    """Prints lines that belong to no part without a label, and survives the loss of its reader."""

    def __init__(self, output: TextIO, on_lost: Callable[[], None]) -> None:
        super().__init__(output)
        self._on_lost = on_lost

    def write(self, message: Message) -> None:
        try:
            if message.name is None:
                print(message.data, file=self.output, flush=True)
            else:
                super().write(message)
        except OSError:
            self._abandon_output()
            self._on_lost()

    def _abandon_output(self) -> None:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.output.fileno())
        os.close(nowhere)


class _StackProcess(Process):  # type: ignore[misc]
    """A part, which gets back the signals that were held while it was forked."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._child_ctor = _popen


def _popen(command: str, **options: Any) -> subprocess.Popen[bytes]:
    child: subprocess.Popen[bytes] = Popen(command, preexec_fn=_release_signals, stdin=subprocess.DEVNULL, **options)
    return child

"""Ctrl+C while a network learns: the step is finished first and a checkpoint written; a second one ends at once."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType

from abd_app.cli import processes
from abd_app.errors import RunCancelledError
from abd_app.events import CheckpointSaved, Event, PhaseStarted, RunBegan, StepDone

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends what is inside as Ctrl+C does, so that it leaves no private copies in the temporary folder."""
    if not _may_handle():
        yield
        return
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _may_handle() -> bool:
    """Whether this thread may say what signals do: of several processes each is ended at once.

    One that stopped by itself would leave the others waiting.
    """
    return threading.current_thread() is threading.main_thread() and not processes.are_several()


class Interrupts:
    """Turns Ctrl+C and SIGTERM, as schedulers send it, into a question that is asked between two events.

    The run is then asked for a checkpoint, and ends with it. Before the first step there is nothing to keep: there they
    raise ``KeyboardInterrupt`` wherever the run is. So does a second one.
    """

    def __init__(self) -> None:
        self._asked = False
        self._folder = ""
        self._last: StepDone | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        if _may_handle():
            self._before = {one: signal.signal(one, self._on_signal) for one in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)  # type: ignore[arg-type]

    def checkpoint_wanted(self) -> bool:
        """Whether the run shall write a checkpoint, because it is to end."""
        return self._asked

    def see(self, event: Event) -> None:
        """Notes how far the run is.

        Raises:
            KeyboardInterrupt: It is to end, and has its checkpoint, or learns no more.
        """
        if isinstance(event, RunBegan):
            self._folder = event.folder
        elif isinstance(event, StepDone):
            self._last = event
        elif self._asked and isinstance(event, CheckpointSaved | PhaseStarted):
            raise KeyboardInterrupt

    def cancelled(self) -> RunCancelledError:
        """What to tell the user, once the run has ended."""
        last = self._last
        reached = "" if last is None else f" at step {last.step} of {last.total_steps} of the {last.role}"
        kept = bool(self._folder) and any(Path(self._folder, "checkpoint").glob("*.pt"))
        return RunCancelledError(
            f"Cancelled{reached}.",
            where=self._folder if kept else "",
            why="" if kept else "There was no checkpoint yet: nothing is left of the run.",
            remedy="Continue it with the same command and --resume." if kept else "Start it again when you like.",
        )

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._last is None or not self._last.step or self._asked:
            raise KeyboardInterrupt
        self._asked = True
        print("abd-app: stopping after this step; Ctrl+C again stops at once", file=sys.stderr, flush=True)

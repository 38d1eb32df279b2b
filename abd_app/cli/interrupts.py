"""Ctrl+C while a network learns: the step is finished first and a checkpoint written; a second one ends at once."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType, TracebackType

from abd_app.cli import processes
from abd_app.errors import RunCancelledError
from abd_app.events import Event, RunBegan, StepDone
from abd_app.run_files import CHECKPOINT, PLAN
from abd_app.unsaved import Unsaved

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def terminable() -> Iterator[None]:
    """SIGTERM ends what is inside as Ctrl+C does, so that it leaves no private copies in the temporary folder."""
    if not _may_handle():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    if before in (signal.SIG_IGN, None):
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
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

    The run is then asked for a checkpoint, and ends with it. Where there is nothing to keep, they raise
    ``KeyboardInterrupt`` wherever the run is; so does a second one.

    Args:
        again: The command that goes on with the run, for messages.
    """

    def __init__(self, again: str) -> None:
        self._again = again
        self._asked = False
        self._folder = ""
        self._unsaved = Unsaved()
        self._last: StepDone | None = None
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> Interrupts:
        if _may_handle():
            handlers = {one: signal.getsignal(one) for one in _SIGNALS}
            # A script's background job is not to hear Ctrl+C; a handler that is not Python's cannot be put back.
            self._before = {one: before for one, before in handlers.items() if before not in (signal.SIG_IGN, None)}
            for one in self._before:
                signal.signal(one, self._on_signal)
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
            KeyboardInterrupt: It is to end, and nothing would be lost.
        """
        self._unsaved.see(event)
        if isinstance(event, RunBegan):
            self._folder = event.folder
        elif isinstance(event, StepDone):
            self._last = event
        if self._asked and not self._unsaved.is_anything:
            raise KeyboardInterrupt

    def cancelled(self) -> RunCancelledError:
        """What to tell the user, once the run has ended."""
        last = self._last
        reached = "" if last is None else f" at step {last.step} of {last.total_steps} of the {last.role}"
        if not self._folder or not Path(self._folder, PLAN).exists():
            why = "There was nothing yet to go on from: nothing is left of the run."
            return RunCancelledError(f"Cancelled{reached}.", why=why, remedy="Start it again when you like.")
        has_checkpoint = Path(self._folder, CHECKPOINT).exists()
        begins = "" if has_checkpoint else "There is no checkpoint: it will start from the beginning."
        remedy = f"Continue it with {self._again}."
        return RunCancelledError(f"Cancelled{reached}.", where=self._folder, why=begins, remedy=remedy)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._asked or not self._unsaved.is_anything:
            raise KeyboardInterrupt
        self._asked = True
        # Not by print(): the signal may have come in the middle of one.
        with contextlib.suppress(OSError):
            os.write(2, b"abd-app: stopping at a checkpoint after this step; Ctrl+C again stops at once\n")

"""The thread that owns the engine process and turns its events into signals."""

from __future__ import annotations

import queue
from dataclasses import dataclass

from PySide6.QtCore import QThread, Signal

from abd_app.events import Event
from abd_app.worker.engine import TORCH_RUNNER, EngineProcess
from abd_app.worker.messages import CommandName, Job

_POLL_S = 0.05


@dataclass(frozen=True)
class _NumberedJob:
    number: int
    job: Job


class EngineThread(QThread):
    """Takes jobs and commands from the window's thread, gives back the events of the engine child.

    A job that is submitted while another runs waits for its end; the newest one waiting replaces an older one.

    Args:
        runner: Dotted name of the module that does the work in the child.
    """

    eventsArrived = Signal(int, list)
    """Number of the job (0: of none), and what has happened since the last time."""

    def __init__(self, runner: str = TORCH_RUNNER) -> None:
        super().__init__()
        self._runner = runner
        self._orders: queue.SimpleQueue[_NumberedJob | CommandName | None] = queue.SimpleQueue()
        self._jobs_submitted = 0

    def submit(self, job: Job) -> int:
        """Queues a job and returns the number under which its events arrive."""
        self._jobs_submitted += 1
        self._orders.put(_NumberedJob(self._jobs_submitted, job))
        return self._jobs_submitted

    def command(self, name: CommandName) -> None:
        """Orders something for the job that runs."""
        self._orders.put(name)

    def close(self) -> None:
        """Ends the child and the thread; returns when both are gone."""
        self._orders.put(None)
        self.wait()

    def run(self) -> None:
        engine = EngineProcess(self._runner)
        engine.start()
        number, waiting = 0, None
        try:
            while True:
                closing, waiting = self._take_orders(engine, waiting)
                if closing:
                    return
                if waiting is not None and not engine.busy:
                    engine.submit(waiting.job)
                    number, waiting = waiting.number, None
                events: list[Event] = engine.poll(_POLL_S)
                if events:
                    self.eventsArrived.emit(number, events)
                elif not engine.alive:
                    # It died or was ended; the next job starts a fresh one. Do not spin until then.
                    self.msleep(round(_POLL_S * 1000))
        finally:
            engine.close()

    def _take_orders(self, engine: EngineProcess, waiting: _NumberedJob | None) -> tuple[bool, _NumberedJob | None]:
        while True:
            try:
                order = self._orders.get_nowait()
            except queue.Empty:
                return False, waiting
            if order is None:
                return True, None
            if isinstance(order, _NumberedJob):
                waiting = order
            else:
                engine.command(order)

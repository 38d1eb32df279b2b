"""The thread that owns the engine process and turns its events into signals."""

from __future__ import annotations

import queue
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from PySide6.QtCore import QThread, Signal, SignalInstance

from abd_app.events import AuditCancelled, Event
from abd_app.worker.engine import TORCH_RUNNER, EngineProcess
from abd_app.worker.failure import failure_of
from abd_app.worker.messages import CommandName, Job

_POLL_S = 0.05


@dataclass(frozen=True)
class _NumberedJob:
    number: int
    job: Job


class Engine(Protocol):
    """What the session needs of :class:`EngineThread`."""

    @property
    def eventsArrived(self) -> SignalInstance:
        """Job number and events."""
        ...

    def submit(self, job: Job) -> int:
        """Queues a job; its number."""
        ...

    def command(self, name: CommandName) -> None:
        """Orders something for the job that runs."""
        ...


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
        self._waiting: _NumberedJob | None = None
        self._meanwhile: list[CommandName] = []

    def submit(self, job: Job) -> int:
        """Queues a job and returns the number under which its events arrive."""
        self._jobs_submitted += 1
        self._orders.put(_NumberedJob(self._jobs_submitted, job))
        return self._jobs_submitted

    def command(self, name: CommandName) -> None:
        """Orders something for the job that was submitted last."""
        self._orders.put(name)

    def close(self) -> None:
        """Ends the child and the thread; returns when both are gone."""
        self._orders.put(None)
        self.wait()

    def run(self) -> None:
        engine = EngineProcess(self._runner)
        number = 0
        try:
            self._try(engine.start, number)
            while self._take_orders(engine):
                if self._waiting is not None and not engine.busy:
                    number = self._hand_over(engine, self._waiting)
                events: list[Event] = engine.poll(_POLL_S)
                if events:
                    self.eventsArrived.emit(number, events)
                elif not engine.alive:
                    # It died or was ended; the next job starts a fresh one. Do not spin until then.
                    self.msleep(round(_POLL_S * 1000))
        finally:
            engine.close()

    def _hand_over(self, engine: EngineProcess, waiting: _NumberedJob) -> int:
        """Gives the engine the job that waited, and what was ordered for it meanwhile; its number."""
        self._waiting = None
        self._try(lambda: engine.submit(waiting.job), waiting.number)
        for name in self._meanwhile:
            engine.command(name)
        return waiting.number

    def _try(self, start: Callable[[], None], number: int) -> None:
        """Starts something; where the system has no room for a process, that is how the job ends."""
        try:
            start()
        except OSError as error:
            self.eventsArrived.emit(number, [failure_of(error)])

    def _take_orders(self, engine: EngineProcess) -> bool:
        """Takes what was ordered since the last time; false: the thread is to end."""
        while True:
            try:
                order = self._orders.get_nowait()
            except queue.Empty:
                return True
            if order is None:
                return False
            if isinstance(order, _NumberedJob):
                if self._waiting is not None:
                    self.eventsArrived.emit(self._waiting.number, [AuditCancelled()])
                self._waiting, self._meanwhile = order, []
            elif self._waiting is None:
                engine.command(order)
            else:
                self._order_waiting(self._waiting, order)

    def _order_waiting(self, waiting: _NumberedJob, name: CommandName) -> None:
        """A command for a job that has not begun: what runs is an older one, which is ending."""
        if name in ("cancel", "suspend"):
            self._waiting = None
            self.eventsArrived.emit(waiting.number, [AuditCancelled()])
        else:
            self._meanwhile.append(name)

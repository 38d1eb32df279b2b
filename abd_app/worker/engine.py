"""The parent's end: starts the engine child, gives it jobs, reads its events, and outlives it."""

from __future__ import annotations

import atexit
import contextlib
import multiprocessing
import shutil
import tempfile
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from types import MappingProxyType

from abd_app.events import AuditCancelled, AuditFailed, AuditFinished, Event
from abd_app.worker.child import TOLD_EXIT_CODE, serve
from abd_app.worker.codec import MAX_MESSAGE_BYTES, CodecError, decode, encode
from abd_app.worker.failure import failure_of_exit
from abd_app.worker.messages import Command, CommandName, InspectionFinished, Job

TORCH_RUNNER = "abd_app.worker.torch_runner"
JOB_ENDS = (AuditFinished, AuditCancelled, AuditFailed, InspectionFinished)
SUSPEND_GRACE_S = 60.0
"""For a job to come to its next checkpoint: a round of image generation may come first."""
_START_GRACE_S = 20.0
"""For a child to load its engine: to end it then would only have the next job wait for another one."""
_BATCH = 200


class EngineProcess:
    """One engine in a child process, one job at a time. Not thread-safe: one thread owns it.

    Every job ends with exactly one of ``JOB_ENDS``, also when the child dies. A cancel that the child does not answer
    within ``cancel_grace_s`` (more while it still loads its engine) ends the child; :meth:`start` starts a fresh one.

    Args:
        runner: Dotted name of the module that does the work (:class:`abd_app.worker.messages.Runner`).
        cancel_grace_s: Seconds a cancelled job has to end by itself.
        environment: Variables that the child gets besides this process's own, before its engine is loaded.
    """

    def __init__(
        self,
        runner: str = TORCH_RUNNER,
        *,
        cancel_grace_s: float = 0.7,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._runner = runner
        self._environment = dict(environment)
        self._cancel_grace_s = self._grace_s = cancel_grace_s
        self._cancel_deadline_s: float | None = None
        self._process: SpawnProcess | None = None
        self._orders: Connection | None = None
        self._answers: Connection | None = None
        self._busy = self._ready = False
        self._scratch = ""

    @property
    def alive(self) -> bool:
        """True between :meth:`start` and the end of the child."""
        return self._process is not None

    @property
    def busy(self) -> bool:
        """True while a job has not ended."""
        return self._busy

    @property
    def pid(self) -> int | None:
        """Process id of the child; ``None`` if there is none."""
        return self._process.pid if self._process is not None else None

    def start(self) -> None:
        """Starts a child if there is none.

        Raises:
            OSError: The system has no room for one more process, pipe or folder.
        """
        if self._process is not None:
            return
        # A child that is ended by force leaves its private copies of foreign files; they go with this folder.
        self._scratch = tempfile.mkdtemp(prefix="abd-app-engine-")
        environment = dict.fromkeys(("TMPDIR", "TEMP", "TMP"), self._scratch) | self._environment
        context = multiprocessing.get_context("spawn")
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as childs:
            ours.callback(shutil.rmtree, self._scratch, ignore_errors=True)
            orders_out, orders = context.Pipe(duplex=False)
            # Only the child may hold its ends, or its death would not close the pipe.
            childs.callback(orders_out.close)
            ours.callback(orders.close)
            answers, answers_in = context.Pipe(duplex=False)
            childs.callback(answers_in.close)
            ours.callback(answers.close)
            process = context.Process(
                target=serve, args=(orders_out, answers_in, self._runner, environment), name="abd-app engine"
            )
            process.start()
            ours.pop_all()  # it has started: they are to stay
        self._process, self._orders, self._answers, self._ready = process, orders, answers, False
        # multiprocessing waits for children at exit; the pipe must be closed before that.
        atexit.register(self.close)

    def submit(self, job: Job) -> None:
        """Hands over a job and starts the child if needed.

        Raises:
            OSError: As :meth:`start`.
            RuntimeError: The engine is busy.
        """
        if self._busy:
            raise RuntimeError("the engine is busy")
        self.start()
        self._busy = True
        self._cancel_deadline_s = None
        self._send(encode(job))

    def command(self, name: CommandName) -> None:
        """Gives an order for the running job; without one it does nothing."""
        if not self._busy:
            return
        if name in ("cancel", "suspend"):
            grace_s = self._cancel_grace_s if name == "cancel" else SUSPEND_GRACE_S
            deadline_s = time.monotonic() + grace_s + (0.0 if self._ready else _START_GRACE_S)
            # A run that is told to keep itself may be dropped after all; one that is told twice has no more time.
            if self._cancel_deadline_s is None or deadline_s < self._cancel_deadline_s:
                self._grace_s, self._cancel_deadline_s = grace_s, deadline_s
        self._send(encode(Command(name)))

    def poll(self, timeout_s: float = 0.0) -> list[Event]:
        """The events that have arrived; waits up to ``timeout_s`` for the first."""
        if self._process is None or self._answers is None:
            return []
        received: list[Event] = []
        try:
            while len(received) < _BATCH and self._answers.poll(timeout_s if not received else 0):
                event: Event = decode(self._answers.recv_bytes(MAX_MESSAGE_BYTES))
                received.append(event)
                self._mark_ready()
                if isinstance(event, JOB_ENDS):
                    self._job_over()
        except (EOFError, OSError, CodecError):
            return received + self._end_of_child()
        if self._cancel_deadline_s is not None and time.monotonic() > self._cancel_deadline_s:
            self._bury(patience_s=0.0)
            self._job_over()
            received.append(AuditCancelled())
        return received

    def close(self) -> None:
        """Ends the child: by closing the pipe, then by asking, then by force; it is gone within 3 s."""
        if self._process is not None:
            self._bury(patience_s=1.2)
        self._job_over()

    def _end_of_child(self) -> list[Event]:
        """The child has left: what there still is to say about it."""
        was_busy, was_cancelled = self._busy, self._cancel_deadline_s is not None
        exit_code, pid = self._bury(patience_s=0.5)
        self._job_over()
        if was_cancelled:
            return [AuditCancelled()]
        return [failure_of_exit(exit_code, pid=pid)] if was_busy or exit_code != TOLD_EXIT_CODE else []

    def _mark_ready(self) -> None:
        """The child has said something: from now on it can answer a cancel."""
        if not self._ready and self._cancel_deadline_s is not None:
            self._cancel_deadline_s = time.monotonic() + self._grace_s
        self._ready = True

    def _job_over(self) -> None:
        self._busy = False
        self._cancel_deadline_s = None

    def _send(self, data: bytes) -> None:
        # A pipe without a reader means that the child is dead: poll() notices and says so, once.
        if self._orders is not None:
            with contextlib.suppress(OSError):
                self._orders.send_bytes(data)

    def _bury(self, *, patience_s: float) -> tuple[int | None, int | None]:
        """Makes sure that the child is gone; its exit code and process id."""
        process, self._process = self._process, None
        if process is None:
            return None, None
        for pipe in (self._orders, self._answers):
            if pipe is not None:
                pipe.close()
        self._orders = self._answers = None
        process.join(patience_s)
        for end in (process.terminate, process.kill):
            if process.exitcode is None:
                end()
                process.join(0.6)
        shutil.rmtree(self._scratch, ignore_errors=True)
        atexit.unregister(self.close)
        return process.exitcode, process.pid

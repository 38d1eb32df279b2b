"""The engine child: takes jobs from a pipe, drains their generators, answers with events."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable, Generator, Mapping
from multiprocessing.connection import Connection
from typing import cast

from abd_app.events import AuditCancelled, AuditFailed, AuditFinished, Event
from abd_app.unsaved import Unsaved
from abd_app.worker.codec import encode
from abd_app.worker.failure import failure_of
from abd_app.worker.mailbox import Mailbox
from abd_app.worker.messages import AuditJob, ImagesJob, InspectionFinished, Job, PauseChanged, Runner
from abd_app.worker.throttle import StepThrottle

TOLD_EXIT_CODE = 70
"""The engine could not start and has already said why."""

_NICENESS = 10
_BELOW_NORMAL_PRIORITY_CLASS = 0x4000


class _ParentGoneError(Exception):
    """Nobody reads the answers any more."""


def serve(orders: Connection, answers: Connection, runner_name: str, environment: Mapping[str, str]) -> None:
    """Entry point of the child process; returns when the parent closes its end of ``orders``."""
    # Ctrl+C reaches the whole process group; the parent decides, this process leaves when the pipe closes.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # OpenMP reads this when torch is loaded: spinning threads would take the cores from the window.
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    os.environ.update(environment)
    _lower_priority()
    mailbox = Mailbox(orders)
    mailbox.start()

    def send(event: Event) -> None:
        try:
            answers.send_bytes(encode(event))
        except OSError as error:
            raise _ParentGoneError from error

    try:
        runner = cast(Runner, importlib.import_module(runner_name))
        send(runner.list_devices())
        while (job := mailbox.next_job()) is not None:
            send(_run(job, runner, mailbox, send))
            gc.collect()
            runner.release_memory()
    except _ParentGoneError:
        return
    except Exception as error:
        send(failure_of(error))
        sys.exit(TOLD_EXIT_CODE)


def _run(job: Job, runner: Runner, mailbox: Mailbox, send: Callable[[Event], None]) -> Event:
    """Drains one job and returns the one event that ends it."""
    if mailbox.cancel or mailbox.suspend:  # while the engine was loaded
        return AuditCancelled()
    try:
        if isinstance(job, AuditJob):
            wishes = {"stop_requested": lambda: mailbox.stop, "checkpoint_wanted": lambda: mailbox.suspend}
            events = runner.run_audit(job.plan, **wishes)
        elif isinstance(job, ImagesJob):
            events = runner.look_at_images(job.path, job.card)
        else:
            events = runner.run_inspection(job.file, job.facts, job.choices)
        try:
            end = _drain(events, mailbox, send)
        finally:
            events.close()
    except _ParentGoneError:
        raise
    except Exception as error:
        return AuditCancelled() if mailbox.cancel else failure_of(error)
    if end is not None:
        return end
    return InspectionFinished() if not isinstance(job, AuditJob) else _no_result()


def _drain(events: Generator[Event, None, None], mailbox: Mailbox, send: Callable[[Event], None]) -> Event | None:
    throttle, unsaved = StepThrottle(send), Unsaved()
    for event in events:
        unsaved.see(event)
        if isinstance(event, AuditFinished):
            throttle.flush()
            return event
        if mailbox.cancel or (mailbox.suspend and not unsaved.is_anything):
            return AuditCancelled()
        throttle.send(event)
        if mailbox.pause:
            throttle.flush()
            send(PauseChanged(True))
            cancelled = mailbox.wait_while_paused()
            send(PauseChanged(False))
            if cancelled:
                return AuditCancelled()
    throttle.flush()
    return None


def _no_result() -> AuditFailed:
    return AuditFailed("The audit ended without a result.", "", "", "Copy the details and report them.", 4)


def _lower_priority() -> None:
    if sys.platform == "win32":
        import ctypes

        kernel = ctypes.windll.kernel32
        kernel.SetPriorityClass(kernel.GetCurrentProcess(), _BELOW_NORMAL_PRIORITY_CLASS)
    else:
        os.nice(_NICENESS)

"""How a batch goes, on stderr: one line per audit that starts or ends, with counts."""

from __future__ import annotations

from pathlib import Path

from abd_app import console
from abd_app.batch import AuditEnded, AuditStarted, BatchEvent, BatchPlanned
from abd_app.batch.outcome import Outcome
from abd_app.batch.tasks import AuditTask


class BatchPrinter:
    """Counts what has ended and says so.

    Attributes:
        audits: How many there are; 0 until the batch has begun.
    """

    def __init__(self) -> None:
        self.audits = self._ended = self._failed = 0

    @property
    def done(self) -> int:
        """How many are done."""
        return self._ended - self._failed

    def show(self, event: BatchEvent) -> None:
        """Prints what a person wants to know of ``event``."""
        if isinstance(event, BatchPlanned):
            self.audits = event.audits
            at_a_time = "" if event.jobs is None else f", {event.jobs} at a time"
            earlier = f", {event.finished} of them by an earlier run" if event.finished else ""
            console.say(f"{event.audits} audits{earlier}{at_a_time}")
        elif isinstance(event, AuditStarted):
            console.say(f"{self._counts()} started {_name(event.task)} on {event.place}")
        elif isinstance(event, AuditEnded):
            self._ended += 1
            self._failed += event.outcome.status != "done"
            console.say(f"{self._counts()} {_end(event.outcome)}")

    def _counts(self) -> str:
        failed = f", {self._failed} failed" if self._failed else ""
        return f"[{self._ended} of {self.audits} ended{failed}]"


def _name(task: AuditTask) -> str:
    return f"{Path(task.plan.teacher_file).name}, seed {task.plan.seed}"


def _end(outcome: Outcome) -> str:
    name, report = _name(outcome.task), outcome.report
    if report is None:
        return f"{outcome.status}: {name}: {outcome.message}"
    accuracy, kind = report["student"]["accuracy"], "agreement" if report["estimated"] else "accuracy"
    score = f"{kind} not measured" if accuracy is None else f"{kind} {accuracy:.3f}"
    warnings = sum(finding["severity"] != "info" for finding in report["findings"])
    worth = f", {warnings} warning{'' if warnings == 1 else 's'}" if warnings else ""
    return f"done: {name}: student's {score}, {report['wall_s']:.0f} s{worth}"

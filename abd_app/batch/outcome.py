"""How one audit of a batch ended, and what a running batch says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from abd_app.batch.tasks import AuditTask
from abd_app.errors import TeacherRefusedError
from abd_app.events import AuditFailed

Status = Literal["done", "refused", "failed", "unfinished"]
"""``unfinished``: not run yet, or interrupted together with the batch."""


@dataclass(frozen=True)
class Outcome:
    """The end of one audit.

    Attributes:
        task: Which one.
        status: How it ended.
        report: The content of its ``report.json``; ``None`` unless ``done``.
        sha256: Of the teacher as it was read, or of its file if it was refused before; empty if unreadable.
        message: What happened, where, why and what to do; empty if ``done``.
    """

    task: AuditTask
    status: Status
    report: dict[str, Any] | None = None
    sha256: str = ""
    message: str = ""


@dataclass(frozen=True)
class BatchEvent:
    """Base of everything a batch yields."""


@dataclass(frozen=True)
class BatchPlanned(BatchEvent):
    """The batch begins.

    Attributes:
        audits: How many there are.
        finished: How many of them an earlier run has finished.
        jobs: How many may run at a time; ``None``: as many as the cluster has room for.
    """

    audits: int
    finished: int
    jobs: int | None


@dataclass(frozen=True)
class AuditStarted(BatchEvent):
    """An audit has a process now; ``place`` names its device or machine."""

    task: AuditTask
    place: str


@dataclass(frozen=True)
class AuditEnded(BatchEvent):
    """An audit is over."""

    outcome: Outcome


@dataclass(frozen=True)
class BatchFinished(BatchEvent):
    """Everything is over; ``outcomes`` has every audit, in the order of the plan."""

    outcomes: tuple[Outcome, ...]


def done(task: AuditTask, report: dict[str, Any]) -> Outcome:
    """The outcome of an audit with a report."""
    return Outcome(task, "done", report, report["teacher"]["sha256"])


def failed(task: AuditTask, failure: AuditFailed, *, sha256: str = "") -> Outcome:
    """The outcome of an audit that was refused or failed."""
    status: Status = "refused" if failure.exit_code == TeacherRefusedError.exit_code else "failed"
    parts = [failure.what, f"({failure.where})" if failure.where else "", failure.why, failure.remedy]
    return Outcome(task, status, sha256=sha256, message=" ".join(" ".join(filter(None, parts)).split()))


def unfinished(task: AuditTask) -> Outcome:
    """The outcome of an audit that was not run to its end because the batch was not."""
    return Outcome(task, "unfinished", message="The batch ended first. Run it again with --resume.")

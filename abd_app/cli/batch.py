"""``batch``: many teachers and seeds, on this machine or on a Ray cluster."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import typer

from abd_app.batch import BatchFinished, BatchPlan, run_batch
from abd_app.batch.summary import row
from abd_app.cli.batch_progress import BatchPrinter
from abd_app.cli.interrupts import terminable
from abd_app.cli.options import (
    Arch,
    AsJson,
    BatchOut,
    BatchResume,
    Classes,
    Compare,
    Data,
    Defense,
    Device,
    Effort,
    Files,
    Jobs,
    Mean,
    Method,
    Minutes,
    Output,
    Picture,
    Precision,
    Ray,
    Seeds,
    Size,
    Std,
    Steps,
    Student,
    Target,
    Triggers,
    stated_facts,
)
from abd_app.cli.reporting import failures_reported, print_json
from abd_app.command import target_from_text, trigger_from_text
from abd_app.errors import RunCancelledError, RunFailedError, UsageError
from abd_app.plan import AuditPlan
from abd_app.plan_paths import absolute

_SOME_FAILED = RunFailedError.exit_code


def batch(
    files: Files,
    out: BatchOut,
    seeds: Seeds = "0",
    jobs: Jobs = None,
    ray: Ray = None,
    resume: BatchResume = False,
    method: Method = AuditPlan.method,
    defense: Defense = AuditPlan.defense,
    student: Student = AuditPlan.student,
    effort: Effort = AuditPlan.effort,
    steps: Steps = None,
    minutes: Minutes = None,
    device: Device = AuditPlan.device,
    precision: Precision = AuditPlan.precision,
    arch: Arch = None,
    classes: Classes = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    answers: Output = None,
    data: Data = None,
    trigger: Triggers = None,
    target: Target = str(AuditPlan.target_class),
    compare: Compare = False,
    picture: Picture = None,
    as_json: AsJson = False,
) -> None:
    """Audit many teachers, each with every seed; one that fails does not stop the others."""
    with failures_reported(), terminable():
        facts = stated_facts(arch, classes, size, mean, std, answers)
        triggers = tuple(trigger_from_text(text) for text in trigger or ())
        budget: dict[str, Any] = {"effort": effort, "steps": steps, "minutes": minutes}
        how: dict[str, Any] = {"method": method, "defense": defense, "student": student, "picture": picture}
        machine: dict[str, Any] = {"device": device, "precision": precision}
        goal = target_from_text(target)
        measured: dict[str, Any] = {"data": data, "triggers": triggers, "target_class": goal, "compare": compare}
        options = AuditPlan("", "", facts, **how, **budget, **machine, **measured)
        _run(tuple(files), _seeds(seeds), out, options, jobs, ray, resume, as_json)


def _run(
    files: tuple[str, ...],
    seeds: tuple[int, ...],
    out: str,
    options: AuditPlan,
    jobs: int | None,
    ray: str | None,
    resume: bool,
    as_json: bool,
) -> None:
    """Drains the batch. Libraries may print: stdout is for the result alone."""
    rows: list[dict[str, Any]] = []
    with contextlib.redirect_stdout(sys.stderr):
        plan = BatchPlan(files, seeds, out, options, jobs, ray, resume)
        progress = BatchPrinter()
        try:
            with contextlib.closing(run_batch(plan)) as events:
                for event in events:
                    progress.show(event)
                    if isinstance(event, BatchFinished):
                        rows = [row(outcome) for outcome in event.outcomes]
        except KeyboardInterrupt:
            if not progress.audits:  # nothing to go on with
                raise
            raise _cancelled(progress, out) from None
    done = sum(row["status"] == "done" for row in rows)
    if as_json:
        print_json({"folder": absolute(out), "done": done, "failed": len(rows) - done, "audits": rows})
    else:
        print(f"{done} of {len(rows)} audits are done; the summary is {Path(out) / 'summary.html'}")
    if done < len(rows):
        raise typer.Exit(_SOME_FAILED)


def _cancelled(progress: BatchPrinter, out: str) -> RunCancelledError:
    return RunCancelledError(
        f"Cancelled: {progress.done} of {progress.audits} audits are done.",
        where=absolute(out),
        remedy="Continue the batch with the same command and --resume.",
    )


def _seeds(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{text!r} is not a list of seeds.", where="--seeds", remedy="Give e.g. 0,1,2.") from None

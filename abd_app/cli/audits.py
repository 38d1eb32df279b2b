"""One teacher: ``inspect``, ``distill`` and ``demo``."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from abd_app import console, history
from abd_app.cli.interrupts import Interrupts, terminable
from abd_app.cli.options import (
    Arch,
    AsJson,
    Classes,
    Compare,
    Data,
    Defense,
    Device,
    Effort,
    File,
    Mean,
    Method,
    Minutes,
    Out,
    Output,
    Picture,
    Precision,
    Resume,
    Seed,
    Size,
    Std,
    Steps,
    Student,
    Target,
    Triggers,
    stated_facts,
)
from abd_app.cli.processes import joined
from abd_app.cli.reporting import failures_reported, print_json
from abd_app.command import target_from_text, trigger_from_text
from abd_app.errors import RunFailedError
from abd_app.events import AuditFinished, RunBegan, TeacherInspected
from abd_app.plan import AuditPlan
from abd_app.plan_paths import with_absolute_paths
from abd_app.text import visible

_DEMO = "abd-demo"
_DEMO_OUT = (
    f"Folder for the results; default: {_DEMO}, or {_DEMO}-2 and so on where that is there; with --resume the newest."
)


def inspect(
    file: File,
    as_json: AsJson = False,
    arch: Arch = None,
    classes: Classes = None,
    size: Size = None,
    mean: Mean = None,
    std: Std = None,
    answers: Output = None,
) -> None:
    """Say what a teacher file is, and what it does not say."""
    with failures_reported(), terminable():
        facts = stated_facts(arch, classes, size, mean, std, answers)
        with contextlib.redirect_stdout(sys.stderr):
            from abd_app.audit import run_inspection

            with contextlib.closing(run_inspection(file, facts)) as events:
                card = next(event.card for event in events if isinstance(event, TeacherInspected))
        if as_json:
            print_json(dataclasses.asdict(card))
        else:
            console.print_card(card)


def distill(
    file: File,
    out: Out,
    method: Method = AuditPlan.method,
    defense: Defense = AuditPlan.defense,
    student: Student = AuditPlan.student,
    effort: Effort = AuditPlan.effort,
    steps: Steps = None,
    minutes: Minutes = None,
    device: Device = AuditPlan.device,
    seed: Seed = AuditPlan.seed,
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
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Distil a student that keeps the skill and leaves the backdoor, and export it."""
    with failures_reported():
        facts = stated_facts(arch, classes, size, mean, std, answers)
        triggers = tuple(trigger_from_text(text) for text in trigger or ())
        budget: dict[str, Any] = {"effort": effort, "steps": steps, "minutes": minutes}
        how: dict[str, Any] = {"method": method, "defense": defense, "student": student, "picture": picture}
        machine: dict[str, Any] = {"device": device, "precision": precision, "seed": seed}
        goal = target_from_text(target)
        measured: dict[str, Any] = {"data": data, "triggers": triggers, "target_class": goal, "compare": compare}
        plan = AuditPlan(file, out, facts, **how, **budget, **machine, **measured, resume=resume)
        _audit(with_absolute_paths(plan), as_json)


def demo(
    out: Annotated[str | None, typer.Option(metavar="DIR", help=_DEMO_OUT)] = None,
    seed: Seed = 0,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Do the whole job on the built-in poisoned teacher, with an undefended twin."""
    with failures_reported():
        from abd_app.demo import demo_plan

        folder = out or (_newest_folder(_DEMO) if resume else _free_folder(_DEMO))
        again = shlex.join(["abd-app", "demo", "--out", folder, *(["--seed", str(seed)] if seed else ()), "--resume"])
        _audit(dataclasses.replace(demo_plan(folder, seed=seed), resume=resume), as_json, again)


def _audit(plan: AuditPlan, as_json: bool, again: str = "the same command and --resume") -> None:
    """Drains one audit. Libraries of the engine may print: stdout is for the result alone.

    Of several processes one speaks.
    """
    with contextlib.redirect_stdout(sys.stderr), joined(plan) as speaks:
        report = _report(plan, speaks, again)
    if not speaks:
        return
    if report is None:
        raise RunFailedError("The audit ended without a result.", remedy="Report this with the log of the run.")
    if as_json:
        print_json(report)
    else:
        print(visible(report["summary"]))
        print(f"The student and its report are in {plan.out}")


def _report(plan: AuditPlan, speaks: bool, again: str) -> dict[str, Any] | None:
    from abd_app.audit import run_audit

    report: dict[str, Any] | None = None
    interrupts = Interrupts(again)
    try:
        with contextlib.ExitStack() as opened:
            progress = opened.enter_context(console.ProgressPrinter()) if speaks else None
            run = run_audit(plan, checkpoint_wanted=interrupts.checkpoint_wanted)
            opened.enter_context(interrupts)
            events = opened.enter_context(contextlib.closing(run))
            for event in events:
                interrupts.see(event)
                if progress is not None:
                    progress.show(event)
                if isinstance(event, RunBegan) and speaks:
                    history.remember(event.folder)
                if isinstance(event, AuditFinished):
                    report = event.report
    except KeyboardInterrupt:
        raise interrupts.cancelled() from None
    return report


def _free_folder(name: str) -> str:
    """``name``, or the first of ``name-2``, ``name-3``... that is not there yet: no demo overwrites another."""
    return next(folder for folder in _numbered(name) if not Path(folder).exists())


def _newest_folder(name: str) -> str:
    """The last that :func:`_free_folder` gave, or the first that it would give."""
    *_, newest = name, *itertools.takewhile(os.path.exists, _numbered(name))
    return newest


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))

"""The command line: parses, runs, prints. Exit codes: 0 done, 2 bad usage, 3 refused, 4 failed, 130 cancelled."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from abd_app import __version__, console
from abd_app.command import size_from_text, trigger_from_text, values_from_text
from abd_app.errors import AuditError, RunFailedError, UsageError
from abd_app.events import AuditFinished, TeacherInspected
from abd_app.plan import (
    BUILT_IN_TRIGGERS,
    DEFENSES,
    DEVICES,
    EFFORTS,
    METHODS,
    PRECISIONS,
    STUDENTS,
    AuditPlan,
    TeacherFacts,
)
from abd_app.teacher import Answers

OpenWindow = Callable[[str | None, bool], int]
CANCELLED_EXIT_CODE = 130

_FACTS = "Only what the file does not say"

File = Annotated[str, typer.Argument(help="The teacher: .pt, .pth, .safetensors or .onnx.")]
AsJson = Annotated[bool, typer.Option("--json", help="The result as one JSON object on stdout.")]
Out = Annotated[str, typer.Option(metavar="DIR", help="Folder for the results; empty or not there yet.")]
Method = Annotated[str, typer.Option(metavar="|".join(METHODS), help="Where the images come from.")]
Defense = Annotated[str, typer.Option(metavar="|".join(DEFENSES), help="Shuffling vaccine, self-retrospection, both.")]
Student = Annotated[str, typer.Option(metavar="NAME", help=f"One of: {', '.join(STUDENTS)}.")]
Effort = Annotated[str, typer.Option(metavar="|".join(EFFORTS), help="Budget, if neither steps nor minutes are given.")]
Steps = Annotated[int | None, typer.Option(metavar="N", help="Optimiser steps of the student.")]
Minutes = Annotated[float | None, typer.Option(metavar="M", help="Wall time of the student, instead of steps.")]
Device = Annotated[str, typer.Option(metavar="|".join(DEVICES), help="Where to compute.")]
Seed = Annotated[int, typer.Option(metavar="S", help="The same seed on the same device gives the same numbers.")]
Precision = Annotated[str, typer.Option(metavar="|".join(PRECISIONS), help="Arithmetic of the networks.")]
Arch = Annotated[str | None, typer.Option(metavar="NAME", help="e.g. wrn-16-2, timm/NAME.", rich_help_panel=_FACTS)]
Classes = Annotated[int | None, typer.Option(metavar="K", help="Number of classes.", rich_help_panel=_FACTS)]
Size = Annotated[str | None, typer.Option(metavar="HxW", help="Input size in pixels.", rich_help_panel=_FACTS)]
Mean = Annotated[str | None, typer.Option(metavar="a,b,c", help="Of pixels in [0, 1].", rich_help_panel=_FACTS)]
Std = Annotated[str | None, typer.Option(metavar="a,b,c", help="Of pixels in [0, 1].", rich_help_panel=_FACTS)]
Output = Annotated[
    str | None,
    typer.Option("--answers", metavar="logits|probabilities", help="What it answers.", rich_help_panel=_FACTS),
]
Data = Annotated[
    str | None,
    typer.Option(metavar="PATH", help="Labelled images: a folder per class, or .npz with images and labels."),
]
Triggers = Annotated[
    list[str] | None,
    typer.Option(
        "--trigger",
        metavar="NAME|FILE",
        help=f"To measure, repeatable: {', '.join(BUILT_IN_TRIGGERS)}, or a picture; "
        "fine-tuned with NAME,position=center,opacity=0.2 and likewise scale=..., mask=FILE.",
    ),
]
Target = Annotated[int, typer.Option(metavar="K", help="The attacker's class, counted from 0.")]
Compare = Annotated[bool, typer.Option("--compare", help="Also train an undefended twin with the same budget.")]
Picture = Annotated[str | None, typer.Option(metavar="PATH", help="The picture that ood cuts its patches from.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the run in DIR.")]

_app = typer.Typer(
    name="abd-app",
    add_completion=False,
    pretty_exceptions_enable=False,
)


def run(arguments: Sequence[str], *, open_window: OpenWindow) -> int:
    """Runs one command line.

    Args:
        arguments: What follows the program's name.
        open_window: Shows the window with a file or the demo teacher, and returns its exit code when it is closed.

    Returns:
        The process exit code.
    """
    try:
        _app(list(arguments), prog_name="abd-app", obj=open_window)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


@_app.callback(invoke_without_command=True)
def main(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected failure.")] = False,
) -> None:
    """Make untrusted image classifiers safe to use. Without a command: the window."""
    if debug:
        os.environ["ABD_APP_DEBUG"] = "1"
    if version:
        print(f"abd-app {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        _show_window(context, None, demo=False)


@_app.command()
def gui(
    context: typer.Context,
    file: Annotated[str | None, typer.Argument(help="The teacher to open.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Open the built-in poisoned teacher.")] = False,
) -> None:
    """Open the window, with a file or the demo teacher in it."""
    _show_window(context, file, demo=demo)


@_app.command()
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
    with _failures_reported():
        facts = _facts(arch, classes, size, mean, std, answers)
        with contextlib.redirect_stdout(sys.stderr):
            from abd_app.audit import run_inspection

            with contextlib.closing(run_inspection(file, facts)) as events:
                card = next(event.card for event in events if isinstance(event, TeacherInspected))
        if as_json:
            _print_json(dataclasses.asdict(card))
        else:
            console.print_card(card)


@_app.command()
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
    target: Target = AuditPlan.target_class,
    compare: Compare = False,
    picture: Picture = None,
    resume: Resume = False,
    as_json: AsJson = False,
) -> None:
    """Distil a student that keeps the skill and leaves the backdoor, and export it."""
    with _failures_reported():
        facts = _facts(arch, classes, size, mean, std, answers)
        triggers = tuple(trigger_from_text(text) for text in trigger or ())
        budget: dict[str, Any] = {"effort": effort, "steps": steps, "minutes": minutes}
        how: dict[str, Any] = {"method": method, "defense": defense, "student": student, "picture": picture}
        machine: dict[str, Any] = {"device": device, "precision": precision, "seed": seed}
        measured: dict[str, Any] = {"data": data, "triggers": triggers, "target_class": target, "compare": compare}
        _audit(AuditPlan(file, out, facts, **how, **budget, **machine, **measured, resume=resume), as_json)


@_app.command()
def demo(
    out: Annotated[str | None, typer.Option(metavar="DIR", help="Folder for the results; default: abd-demo.")] = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Do the whole job on the built-in poisoned teacher, with an undefended twin."""
    with _failures_reported():
        from abd_app.demo import demo_plan

        _audit(demo_plan(out or _free_folder("abd-demo"), seed=seed), as_json)


def _audit(plan: AuditPlan, as_json: bool) -> None:
    """Drains one audit. Libraries of the engine may print: stdout is for the result alone."""
    report: dict[str, Any] | None = None
    with contextlib.redirect_stdout(sys.stderr), console.ProgressPrinter() as progress:
        from abd_app.audit import run_audit

        with contextlib.closing(run_audit(plan)) as events:
            for event in events:
                progress.show(event)
                if isinstance(event, AuditFinished):
                    report = event.report
    if report is None:
        raise RunFailedError("The audit ended without a result.", remedy="Report this with the log of the run.")
    if as_json:
        _print_json(report)
    else:
        print(f"The student and its report are in {plan.out}")


def _show_window(context: typer.Context, file: str | None, *, demo: bool) -> None:
    with _failures_reported():
        if file is not None and demo:
            raise UsageError("Both a file and the demo are given.", where="FILE, --demo", remedy="Give one.")
        if file is not None and not Path(file).is_file():
            raise UsageError("There is no such file.", where=file, remedy="Check the path.")
        if _no_display():
            raise UsageError(
                "There is no display to open the window on.",
                why="Neither DISPLAY nor WAYLAND_DISPLAY is set.",
                remedy="Work in the terminal: abd-app demo, abd-app inspect FILE, abd-app distill FILE --out DIR.",
            )
        raise typer.Exit(cast(OpenWindow, context.obj)(file, demo))


def _no_display() -> bool:
    wanted = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    return sys.platform.startswith("linux") and not any(os.environ.get(name) for name in wanted)


def _facts(
    arch: str | None, classes: int | None, size: str | None, mean: str | None, std: str | None, answers: str | None
) -> TeacherFacts:
    if answers not in (None, "logits", "probabilities"):
        raise UsageError(f"Unknown kind of answers {answers!r}.", where="--answers", remedy="logits or probabilities.")
    return TeacherFacts(
        architecture=arch,
        num_classes=classes,
        input_size=None if size is None else size_from_text(size),
        mean=None if mean is None else values_from_text(mean, where="--mean"),
        std=None if std is None else values_from_text(std, where="--std"),
        answers=cast("Answers | None", answers),
    )


def _free_folder(name: str) -> str:
    """``name``, or the first of ``name-2``, ``name-3``... that is not there yet: no demo overwrites another."""
    candidates = (name if number == 1 else f"{name}-{number}" for number in range(1, 10_000))
    return next(folder for folder in candidates if not Path(folder).exists())


def _print_json(value: dict[str, Any]) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


@contextlib.contextmanager
def _failures_reported() -> Iterator[None]:
    """Turns every failure into one message and an exit code."""
    try:
        yield
    except AuditError as error:
        console.print_error(error)
        raise typer.Exit(error.exit_code) from error
    except KeyboardInterrupt:
        print("abd-app: cancelled", file=sys.stderr)
        raise typer.Exit(CANCELLED_EXIT_CODE) from None
    except typer.Exit:
        raise
    except Exception as error:
        unexpected = RunFailedError(
            "Something unexpected went wrong.",
            why=f"{type(error).__name__}: {error}",
            remedy="See the traceback with abd-app --debug ..., and report it.",
        )
        console.print_error(unexpected)
        if os.environ.get("ABD_APP_DEBUG"):
            traceback.print_exc()
        raise typer.Exit(unexpected.exit_code) from error

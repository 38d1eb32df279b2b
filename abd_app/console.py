"""What the command line prints: the card, the progress, the errors. Results go to stdout, everything else to stderr.

Names in a foreign file must not steer the terminal, nor begin a line of their own: what may hold one is made visible.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn

from abd_app.command import trigger_labels
from abd_app.errors import AuditError
from abd_app.events import (
    Event,
    FindingMade,
    Measured,
    MethodChosen,
    PhaseAdvanced,
    PhaseStarted,
    RunBegan,
    StepDone,
    StudentExported,
    TeacherInspected,
    VaccineChecked,
)
from abd_app.teacher import Finding, TeacherCard
from abd_app.text import percent, visible

_SEVERITIES = ("danger", "warning", "info")
_SPARSE_EVERY = 0.25
"""Share of a role's run between two progress lines where no line can be updated in place."""
_SPARSE_EVERY_S = 30.0
"""The same within a phase that has no steps, in seconds."""
_MINUTES_FROM_S = 90.0
"""What is longer is told in minutes."""


class ProgressPrinter:
    """Tells a person on stderr how an audit goes: one updating line on a terminal, sparse lines elsewhere.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = Console(stderr=True, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TaskProgressColumn(),
            TextColumn("{task.fields[step]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._clock = clock
        self._task: TaskID | None = None
        self._role = self._phase = ""
        self._shown = self._said_s = 0.0
        self._learns_since: tuple[float, float] | None = None
        """When the role took its first step, and its progress then."""

    def __enter__(self) -> ProgressPrinter:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, event: Event) -> None:
        """Prints what a person wants to know of ``event``; most events say nothing."""
        if isinstance(event, StepDone):
            self._show_step(event)
        elif isinstance(event, PhaseStarted):
            self._show_phase(event)
        elif isinstance(event, PhaseAdvanced):
            self._show_share(event)
        elif text := _sentence(event):
            self._say(text)

    def _say(self, text: str) -> None:
        self._console.print(visible(text), markup=False)

    def _show_phase(self, event: PhaseStarted) -> None:
        self._say(f"{event.role}: {event.phase}")
        self._phase, self._said_s = event.phase, self._clock()
        description = f"{event.role}, {event.phase}"
        if self._task is None or self._role != event.role:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(description, total=1.0, step="")
            self._role, self._shown, self._learns_since = event.role, 0.0, None
        self._bar.update(self._task, description=description)

    def _show_share(self, event: PhaseAdvanced) -> None:
        """In the updating line; where there is none a line now and then, so that a long phase is no silent one."""
        if self._task is not None:
            self._bar.update(self._task, description=f"{event.role}, {self._phase} {100 * event.share:.0f} %")
        if not self._console.is_terminal and self._clock() > self._said_s + _SPARSE_EVERY_S:
            self._said_s = self._clock()
            self._say(f"{event.role}: {self._phase}, {100 * event.share:.0f} %")

    def _show_step(self, event: StepDone) -> None:
        if self._task is not None:
            self._bar.update(self._task, completed=event.progress, step=f"step {event.step} of {event.total_steps}")
        if event.step and self._learns_since is None:
            self._learns_since = self._clock(), event.progress
        if not self._console.is_terminal and event.progress >= self._shown + _SPARSE_EVERY:
            self._shown = event.progress
            step = f"step {event.step} of {event.total_steps}"
            self._say(f"{event.role}: {step}, {percent(event.progress, 0)}{self._left(event)}")

    def _left(self, event: StepDone) -> str:
        """How long the role goes on at the pace since its first step; empty where that is unknown."""
        if self._learns_since is None or event.progress >= 1:
            return ""
        began_s, at = self._learns_since
        if event.progress <= at:
            return ""
        left_s = (self._clock() - began_s) * (1 - event.progress) / (event.progress - at)
        return f", {left_s / 60:.0f} min left" if left_s >= _MINUTES_FROM_S else f", {left_s:.0f} s left"


def _sentence(event: Event) -> str:
    match event:
        case TeacherInspected(card):
            return f"teacher: {card.file}, {card.format}, {card.architecture or 'unknown architecture'}"
        case MethodChosen(method, reason):
            return f"image source: {method} ({reason})"
        case RunBegan():
            return _began(event)
        case VaccineChecked(accepted, tail_ratio, trials, layers):
            verdict = f"accepted, shuffles {', '.join(layers)}" if accepted else "none accepted"
            return f"vaccine check: {verdict} (told apart {100 * tail_ratio:.1f} %, {trials} tried)"
        case Measured():
            return _measured(event)
        case FindingMade(finding):
            return _finding(finding)
        case StudentExported(path, parity_max_abs, images):
            return f"exported: {path} (differs from PyTorch by at most {parity_max_abs:.1e} on {images} images)"
        case _:
            return ""


def _began(event: RunBegan) -> str:
    match event.state:
        case "finished":
            return "this run is finished: its result again"
        case "resumed" if event.step:
            return f"resumed: the {event.role} goes on after step {event.step}"
        case "resumed":
            return "resumed: there is no checkpoint yet, so the run starts from the beginning"
        case _:
            return ""


def _measured(event: Measured) -> str:
    kind = "agreement with the teacher" if event.estimated else "accuracy"
    parts = [f"{kind} {event.accuracy:.3f} of {event.images}"]
    labels = trigger_labels(event.asr)
    parts += [f"ASR {labels[key]} {rate:.3f} of {event.asr_images[key]}" for key, rate in event.asr.items()]
    return f"{event.role} at step {event.step}: {', '.join(parts)}{' (estimated)' if event.estimated else ''}"


def _finding(finding: Finding) -> str:
    return f"{finding.severity}: {finding.title}" + (f". {finding.detail}" if finding.detail else "")


def print_card(card: TeacherCard) -> None:
    """Prints on stdout what is known about a teacher file, what was found, and what is still asked."""
    for label, value in _card_rows(card):
        print(f"{label:<20}{visible(value)}")
    for severity in _SEVERITIES:
        for finding in (finding for finding in card.findings if finding.severity == severity):
            print(f"\n{visible(_finding(finding))}")
    for question in card.questions:
        why = question.why.removesuffix(".")
        known = f" Guess: {question.guess} ({why})." if question.guess else f" {why}." if why else ""
        print(f"\n{visible(f'needed: {question.prompt}{known}')}\n  {visible(f'answer with {question.option}')}")


def _card_rows(card: TeacherCard) -> list[tuple[str, str]]:
    def say(value: object) -> str:
        if value is None:
            return "not stated"
        return ", ".join(f"{part:g}" for part in value) if isinstance(value, tuple) else str(value)

    size = "not stated" if card.input_size is None else f"{card.input_size[0]} x {card.input_size[1]} pixels"
    rows = [
        ("file", card.file),
        ("SHA-256", card.sha256),
        ("bytes", f"{card.size_bytes:,}"),
        ("format", card.format),
        ("architecture", say(card.architecture)),
        ("parameters", f"{card.parameters:,}"),
        ("BatchNorm layers", str(card.batchnorm_layers)),
        ("classes", say(card.num_classes)),
        ("channels", say(card.channels)),
        ("input size", size),
        ("mean", say(card.mean)),
        ("std", say(card.std)),
        ("answers", say(card.answers)),
    ]
    if card.class_names:
        rows.append(("class names", ", ".join(card.class_names)))
    return rows


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Prints rows on stdout, their cells below each other; every row has as many."""
    shown = [tuple(map(visible, row)) for row in rows]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for row in shown:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print("  ".join(cells).rstrip())


def say(text: str) -> None:
    """Prints one line of progress on stderr."""
    print(visible(text), file=sys.stderr, flush=True)


def print_error(error: AuditError) -> None:
    """Prints on stderr what happened, where, why, and what to do."""
    lines = [f"abd-app: {visible(error.what)}"]
    lines += [f"  {label}: {visible(text)}" for label, text in error.parts() if text]
    print("\n".join(lines), file=sys.stderr)

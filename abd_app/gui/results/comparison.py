"""Two finished runs next to each other, without any widget: their students' curves, results, and what was different."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from PySide6.QtCore import QCoreApplication

from abd_app.errors import AuditError, RunFailedError
from abd_app.gui.live.curves import ACCURACY, CurveStore
from abd_app.gui.look.wording import count, duration, trigger_names
from abd_app.gui.results.outcome import outcome_of
from abd_app.history import PastRun
from abd_app.metrics_file import metrics_from_csv
from abd_app.plan import AuditPlan
from abd_app.run_files import METRICS, REPORT
from abd_app.text import visible

NOT_KNOWN = "–"


class Row(NamedTuple):
    """What it is, and of each run the value as text."""

    name: str
    first: str
    second: str


@dataclass(frozen=True)
class Comparison:
    """The content of the comparison.

    Attributes:
        names: What tells the runs apart.
        curves: Of each run what was measured.
        results: Of the students.
        differences: Choices and circumstances that were not the same.
    """

    names: tuple[str, str]
    curves: tuple[CurveStore, CurveStore]
    results: tuple[Row, ...]
    differences: tuple[Row, ...]


def comparison_of(first: PastRun, second: PastRun) -> Comparison:
    """Reads the files of two finished runs.

    Raises:
        AuditError: The curves or the plan of one of them cannot be read.
    """
    curves = (_curves_of(first), _curves_of(second))
    rates = _joined(*(_read(_rates_of, run, store) for run, store in zip((first, second), curves, strict=True)))
    circumstances = _joined(*(_read(_circumstances_of, run, _plan_of(run)) for run in (first, second)))
    return Comparison(
        names=(_name_of(first), _name_of(second)),
        curves=curves,
        results=(*_named(rates), Row(_tr("Time"), _time_of(first), _time_of(second))),
        differences=tuple(row for row in circumstances if row.first != row.second),
    )


def _name_of(run: PastRun) -> str:
    return f"{visible(run.teacher)}, {run.started[:16].replace('T', ' ')}"


def _curves_of(run: PastRun) -> CurveStore:
    path, store = Path(run.folder) / METRICS, CurveStore()
    try:
        for one in metrics_from_csv(path.read_text(encoding="utf-8")):
            store.take(one)
    except (OSError, ValueError) as error:
        raise RunFailedError(
            _tr("The curves of this run cannot be read."),
            where=str(path),
            why=str(getattr(error, "strerror", None) or error),
            remedy=_tr("Choose another run."),
        ) from error
    return store


def _read(read: Callable[[PastRun, Any], dict[str, str]], run: PastRun, more: CurveStore | AuditPlan) -> dict[str, str]:
    """What ``read`` finds in a report, which anybody may have written."""
    try:
        return read(run, more)
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        raise RunFailedError(
            _tr("The report of this run cannot be read."),
            where=str(Path(run.folder) / REPORT),
            why=f"{type(error).__name__}: {error}",
            remedy=_tr("Choose another run."),
        ) from error


def _rates_of(run: PastRun, measured: CurveStore) -> dict[str, str]:
    """The student's accuracy, and its rates by trigger."""
    outcome = outcome_of(run.result or {}, measured)
    about = "≈ " if outcome.estimated else ""
    found = {}
    for column, rate in zip(outcome.columns, outcome.rows["student"], strict=True):
        found[column] = NOT_KNOWN if rate is None else f"{about}{rate.value} {rate.images}".strip()
    return found


def _named(rates: tuple[Row, ...]) -> tuple[Row, ...]:
    """Rates called as people know them; triggers of one run are told apart from those of the other, too."""
    triggers = trigger_names(row.name for row in rates if row.name != ACCURACY)
    names = {trigger: f"ASR {name}" for trigger, name in triggers.items()} | {ACCURACY: _tr("Accuracy")}
    return tuple(row._replace(name=names[row.name]) for row in rates)


def _time_of(run: PastRun) -> str:
    wall_s = (run.result or {}).get("wall_s")
    return duration(wall_s) if isinstance(wall_s, int | float) else NOT_KNOWN


def _circumstances_of(run: PastRun, plan: AuditPlan) -> dict[str, str]:
    """What may explain a difference, by what it is called: as it was in the end, where the plan left it open."""
    report = run.result or {}
    teacher, student = report.get("teacher") or {}, report.get("student") or {}
    facts = (f"{name} {value}" for name, value in vars(plan.facts).items() if value is not None)
    found: dict[str, Any] = {
        _tr("Teacher"): f"{run.teacher} ({str(teacher.get('sha256', ''))[:12]})",
        _tr("What was said of it"): "; ".join(facts),
        _tr("Image source"): report.get("method", plan.method),
        _tr("Picture"): plan.picture,
        _tr("Defence"): plan.defense,
        _tr("Defences that acted"): ", ".join(report.get("defences", ())),
        _tr("Student"): student.get("architecture", plan.student),
        _tr("Effort"): plan.effort,
        _tr("Steps"): count(report["steps"]) if isinstance(report.get("steps"), int) else None,
        _tr("Stopped early"): _yes_or_no(bool(report.get("stopped_early"))),
        _tr("Seed"): plan.seed,
        _tr("Device"): report.get("device", plan.device),
        _tr("Precision"): plan.precision,
        _tr("Labelled images"): plan.data,
        _tr("Triggers"): ", ".join(map(str, plan.triggers)),
        _tr("Target class"): plan.target_class,
        _tr("Undefended twin"): _yes_or_no(plan.compare),
    }
    return {name: NOT_KNOWN if value in (None, "") else visible(str(value)) for name, value in found.items()}


def _plan_of(run: PastRun) -> AuditPlan:
    try:
        return AuditPlan.from_dict(run.plan)
    except AuditError as error:
        error.where = run.folder
        raise


def _yes_or_no(value: bool) -> str:
    return _tr("yes") if value else _tr("no")


def _joined(first: dict[str, str], second: dict[str, str]) -> tuple[Row, ...]:
    return tuple(
        Row(name, first.get(name, NOT_KNOWN), second.get(name, NOT_KNOWN)) for name in dict.fromkeys([*first, *second])
    )


def _tr(text: str) -> str:
    return QCoreApplication.translate("comparison", text)

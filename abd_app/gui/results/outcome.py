"""The result of a run as the result panel shows it: a sentence, rates with their denominators, what is not known."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QCoreApplication

from abd_app.gui.live.curves import ACCURACY, CurveKey, CurveStore
from abd_app.gui.look.wording import count, duration
from abd_app.text import percent, visible

_ROLES = ("teacher", "twin", "student")


@dataclass(frozen=True)
class Rate:
    """A rate as text, and over how many images it was measured."""

    value: str
    images: str


@dataclass(frozen=True)
class Outcome:
    """The content of the result panel.

    Attributes:
        sentence: What a manager reads.
        caution: What it asks for: ``danger``, ``warning`` or ``info``.
        columns: "" for accuracy, then the triggers.
        rows: By role, a rate per column; ``None`` where nothing was measured.
        not_tested: What the numbers do not say, one sentence each.
        notes: Further facts, one line each.
        estimated: True if no labelled images were given.
    """

    sentence: str
    caution: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[Rate | None, ...]]
    not_tested: tuple[str, ...]
    notes: tuple[str, ...]
    estimated: bool


def outcome_of(report: dict[str, Any], measured: CurveStore) -> Outcome:
    """Reads the content of ``report.json``; a denominator that it lacks comes from the measurements of the run."""
    models = {role: report[role] for role in _ROLES if isinstance(report.get(role), dict)}
    triggers = tuple(dict.fromkeys(name for model in models.values() for name in model.get("asr") or {}))
    columns = (ACCURACY, *triggers)
    rows = {role: tuple(_rate(model, role, column, measured) for column in columns) for role, model in models.items()}
    return Outcome(
        sentence=visible(str(report.get("summary", ""))),
        caution=str(report.get("caution", "info")),
        columns=columns,
        rows=rows,
        not_tested=tuple(visible(str(text)) for text in report.get("not_tested") or _not_tested(triggers, measured)),
        notes=_notes(report),
        estimated=bool(report.get("estimated", measured.estimated)),
    )


def _rate(model: dict[str, Any], role: str, column: str, measured: CurveStore) -> Rate | None:
    value = model.get("accuracy") if column == ACCURACY else (model.get("asr") or {}).get(column)
    if value is None:
        return None
    told = model.get("images") if column == ACCURACY else (model.get("asr_images") or {}).get(column)
    images = told or measured.denominators.get(CurveKey(role, column), 0)
    of = QCoreApplication.translate("outcome", "of {n}").format(n=count(images)) if images else ""
    return Rate(percent(float(value)), of)


def _not_tested(triggers: tuple[str, ...], measured: CurveStore) -> list[str]:
    tr = QCoreApplication.translate
    texts = []
    if triggers:
        texts.append(tr("outcome", "Any trigger that is not listed above, and any target class but the given one."))
    else:
        texts.append(tr("outcome", "No trigger was given, so no attack was measured."))
    if measured.estimated:
        texts.append(tr("outcome", "Accuracy on real images: no labelled ones were given."))
    return texts


def _notes(report: dict[str, Any]) -> tuple[str, ...]:
    tr = QCoreApplication.translate
    notes = []
    student = report.get("student") or {}
    if student.get("architecture"):
        notes.append(
            tr("outcome", "{name}, {n} parameters").format(
                name=visible(str(student["architecture"])), n=count(int(student.get("parameters") or 0))
            )
        )
    if report.get("steps") is not None and report.get("wall_s") is not None:
        stopped = tr("outcome", "stopped early: {n} steps in {time}")
        whole = tr("outcome", "{n} steps in {time}")
        told = stopped if report.get("stopped_early") else whole
        notes.append(told.format(n=count(report["steps"]), time=duration(report["wall_s"])))
    if student.get("onnx_parity_max_abs") is not None:
        notes.append(tr("outcome", "ONNX agrees to {x:.0e}").format(x=student["onnx_parity_max_abs"]))
    return tuple(notes)

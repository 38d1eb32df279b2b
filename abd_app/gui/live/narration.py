"""The events of a run as lines of the log tab."""

from __future__ import annotations

from PySide6.QtCore import QCoreApplication

from abd_app.command import trigger_labels
from abd_app.events import (
    AuditCancelled,
    AuditFailed,
    AuditFinished,
    Event,
    FindingMade,
    Measured,
    MethodChosen,
    PhaseStarted,
    StudentExported,
    TeacherInspected,
    VaccineChecked,
)
from abd_app.gui.look.wording import count, phase_name, place_in_window, role_name, with_places
from abd_app.text import percent, visible


def narrate(event: Event) -> str:
    """One line for an event that is worth one, else ""."""
    line = _narrate(event)
    return visible(line)


def _narrate(event: Event) -> str:
    tr = QCoreApplication.translate
    if isinstance(event, TeacherInspected):
        return tr("narration", "Teacher opened: {format}, {architecture}, SHA-256 {sha}.").format(
            format=event.card.format, architecture=event.card.architecture, sha=event.card.sha256
        )
    if isinstance(event, MethodChosen):
        return tr("narration", "Image source: {method}. {reason}").format(method=event.method, reason=event.reason)
    if isinstance(event, PhaseStarted):
        return tr("narration", "{phase} ({role}) from step {step}.").format(
            phase=phase_name(event.phase), role=role_name(event.role), step=count(event.step)
        )
    if isinstance(event, Measured):
        return _narrate_measured(event)
    if isinstance(event, VaccineChecked):
        return _narrate_vaccine(event)
    if isinstance(event, FindingMade):
        return ". ".join(filter(None, (event.finding.title, event.finding.detail)))
    if isinstance(event, StudentExported):
        return tr(
            "narration", "ONNX written; it differs from PyTorch by at most {difference:.1e} on {images} images."
        ).format(difference=event.parity_max_abs, images=event.images)
    if isinstance(event, AuditFailed):
        told = (with_places(event.what), place_in_window(event.where), event.why, with_places(event.remedy))
        return " ".join(filter(None, told))
    if isinstance(event, AuditCancelled):
        return tr("narration", "Cancelled.")
    if isinstance(event, AuditFinished):
        return tr("narration", "Finished: {folder}").format(folder=event.folder)
    return ""


def _narrate_measured(event: Measured) -> str:
    tr = QCoreApplication.translate
    accuracy = tr("narration", "agreement") if event.estimated else tr("narration", "accuracy")
    rates = [f"{accuracy} {percent(event.accuracy)}"]
    labels = trigger_labels(event.asr)
    rates += [f"ASR {labels[key]} {percent(rate)}" for key, rate in event.asr.items()]
    return f"{role_name(event.role)}, {tr('narration', 'step')} {count(event.step)}: {', '.join(rates)}"


def _narrate_vaccine(event: VaccineChecked) -> str:
    tr = QCoreApplication.translate
    outcome = tr("narration", "accepted") if event.accepted else tr("narration", "not accepted: the vaccine stays off")
    trials = tr("narration", "1 trial") if event.trials == 1 else tr("narration", "{n} trials").format(n=event.trials)
    return tr("narration", "Vaccine check: {outcome}; told apart {share}, {trials}.").format(
        outcome=outcome, share=percent(event.tail_ratio), trials=trials
    )

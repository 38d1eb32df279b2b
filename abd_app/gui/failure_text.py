"""A failure as the texts of a banner: what, where, why, what to do, and where the log is."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QCoreApplication

from abd_app.events import AuditFailed
from abd_app.text import visible


def failure_text(failure: AuditFailed, log: Path) -> tuple[str, str, str]:
    """Title and text for the banner, and the details to copy."""
    tr = QCoreApplication.translate
    named = (
        (tr("failure", "Where"), _in_the_window(failure.where)),
        (tr("failure", "Why"), failure.why),
        (tr("failure", "What to do"), failure.remedy),
        (tr("failure", "Log"), str(log)),
    )
    text = "\n".join(f"{name}: {visible(part)}" for name, part in named if part)
    return visible(failure.what), text, f"{failure.what}\n{text}\n\n{failure.details}"


def _in_the_window(where: str) -> str:
    """Where a choice is made in the window, if ``where`` names the option that makes it in a terminal."""
    tr = QCoreApplication.translate
    places = {
        "--data": tr("failure", "Evaluation, labelled images"),
        "--trigger": tr("failure", "Evaluation, triggers to measure"),
        "--target": tr("failure", "Evaluation, class the attacker wants"),
        "--method": tr("failure", "Plan, images from"),
        "--student": tr("failure", "Plan, student"),
        "--device": tr("failure", "Plan, device"),
        "--steps": tr("failure", "Plan, effort"),
        "--minutes": tr("failure", "Plan, effort"),
        "--seed": tr("failure", "Plan, Advanced, seed"),
        "--picture": tr("failure", "Plan, Advanced, picture for patches"),
    }
    parts = []
    for part in where.split(", "):
        option, _, value = part.partition(" ")
        parts.append(": ".join(filter(None, (places[option], value))) if option in places else part)
    return ", ".join(parts)

"""A failure as the texts of a banner: what, where, why, what to do, and where the log is."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QCoreApplication

from abd_app.events import AuditFailed
from abd_app.gui.look.wording import place_in_window, with_places
from abd_app.text import visible


def failure_text(failure: AuditFailed, log: Path) -> tuple[str, str, str]:
    """Title and text for the banner, and the details to copy."""
    tr = QCoreApplication.translate
    named = (
        (tr("failure", "Where"), place_in_window(failure.where)),
        (tr("failure", "Why"), failure.why),
        (tr("failure", "What to do"), with_places(failure.remedy)),
        (tr("failure", "Log"), str(log)),
    )
    text = "\n".join(f"{name}: {visible(part)}" for name, part in named if part)
    return visible(with_places(failure.what)), text, f"{failure.what}\n{text}\n\n{failure.details}"

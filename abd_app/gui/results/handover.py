"""What leaves the window: the exported student, the report, the folder of the run, the plan as a command."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication

from abd_app.command import plan_to_command
from abd_app.errors import AuditError
from abd_app.gui.file_chooser import FileChooser
from abd_app.gui.results.delivery import deliver, require, show_outside
from abd_app.gui.session import Session
from abd_app.gui.setup.draft import Draft


class Handover(QObject):
    """Gives the user what a run or a plan has made, where the user wants it."""

    saved = Signal(str)
    """The path of a file that was written."""
    failed = Signal(AuditError)

    def __init__(self, session: Session, draft: Draft, chooser: FileChooser, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._draft = draft
        self._chooser = chooser

    def export_onnx(self) -> None:
        """Act three: saves the student."""
        self._save("student.onnx", "-student.onnx", self.tr("Export the student"), "ONNX (*.onnx)")

    def save_report(self) -> None:
        """Saves the report."""
        self._save("report.html", "-report.html", self.tr("Save the report"), "HTML (*.html)")

    def open_folder(self) -> None:
        """Shows the folder of the last run in the system's file manager."""
        if self._session.result is not None:
            try:
                show_outside(Path(self._session.result.folder))
            except AuditError as error:
                self.failed.emit(error)

    def copy_command(self) -> bool:
        """Puts the plan as an ``abd-app distill`` line on the clipboard; False if there is no valid plan."""
        try:
            plan = self._draft.plan(self._session.file, self._session.facts)
        except AuditError as error:
            self.failed.emit(error)
            return False
        QGuiApplication.clipboard().setText(plan_to_command(plan))
        return True

    def _save(self, source: str, suffix: str, title: str, kinds: str) -> None:
        result = self._session.result
        if result is None:
            return
        original = Path(result.folder) / source
        suggestion = Path.home() / (Path(self._session.file).stem + suffix)
        try:
            require(original)
            if path := self._chooser.save(title, str(suggestion), kinds):
                deliver(original, Path(path))
                self.saved.emit(path)
        except AuditError as error:
            self.failed.emit(error)

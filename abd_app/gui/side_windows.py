"""The small windows beside the main one; none of them blocks it."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtWidgets import QDialog, QWidget

from abd_app.errors import AuditError
from abd_app.events import Event, RunBegan
from abd_app.gui.dialogs import HelpDialog, SettingsDialog
from abd_app.gui.file_chooser import FileChooser
from abd_app.gui.look.theme import Theme
from abd_app.gui.results.compare_dialog import CompareDialog
from abd_app.gui.results.comparison import Comparison
from abd_app.gui.results.history_dialog import HistoryDialog
from abd_app.gui.session import Session
from abd_app.gui.settings import Settings
from abd_app.plan import AuditPlan


class SideWindows(QObject):
    """Opens them when they are asked for, each once, and passes on what the user decides there."""

    runsFolderChanged = Signal(Path)
    repeatWanted = Signal(AuditPlan)
    continueWanted = Signal(AuditPlan, str)
    failed = Signal(AuditError)

    def __init__(
        self, session: Session, settings: Settings, theme: Theme, chooser: FileChooser, *, log: Path, parent: QWidget
    ) -> None:
        super().__init__(parent)
        self._session, self._settings, self._theme = session, settings, theme
        self._chooser, self._log, self._parent = chooser, log, parent
        self._was_running = session.running
        session.stateChanged.connect(self._on_state_changed)
        session.eventHappened.connect(self._on_event)

    def show_settings(self) -> None:
        """Theme, size of text, where runs go."""
        if self._raised(SettingsDialog):
            return
        dialog = SettingsDialog(self._settings, self._theme, self._chooser, self._parent)
        dialog.runsFolderChanged.connect(self.runsFolderChanged)
        _show(dialog)

    def show_help(self) -> None:
        """What the app does, and its keys."""
        if not self._raised(HelpDialog):
            _show(HelpDialog(self._log, self._parent))

    def show_history(self) -> None:
        """Earlier runs, as they are now."""
        self._refresh_history()
        if self._raised(HistoryDialog):
            return
        dialog = HistoryDialog(self._folder_of_the_run, self._parent)
        dialog.repeatWanted.connect(self.repeatWanted)
        dialog.continueWanted.connect(self.continueWanted)
        dialog.compareWanted.connect(self._show_comparison)
        dialog.failed.connect(self.failed)
        _show(dialog)

    def _show_comparison(self, comparison: Comparison) -> None:
        _show(CompareDialog(comparison, self._theme, self._parent))

    def _on_state_changed(self) -> None:
        """What stands in the history changes where a run begins or ends, not where it is paused."""
        if self._session.running != self._was_running:
            self._was_running = self._session.running
            self._refresh_history()

    def _on_event(self, event: Event) -> None:
        if isinstance(event, RunBegan):
            self._refresh_history()

    def _refresh_history(self) -> None:
        for dialog in self._parent.findChildren(HistoryDialog):
            if dialog.isVisible():
                dialog.refresh()

    def _raised(self, kind: type[QDialog]) -> bool:
        """Whether such a window is open already; then it is in front now."""
        for dialog in self._parent.findChildren(kind):
            if dialog.isVisible():  # one that was closed may still be there for a moment
                dialog.setWindowState(dialog.windowState() & ~Qt.WindowState.WindowMinimized)
                dialog.raise_()
                dialog.activateWindow()
                return True
        return False

    def _folder_of_the_run(self) -> str:
        plan = self._session.plan
        return plan.out if self._session.running and plan is not None else ""


def _show(dialog: QDialog) -> None:
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.show()

"""The window: lays the places out and connects them. What they do is in their own files."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtGui import (
    QCloseEvent,
    QGuiApplication,
    QKeyEvent,
)
from PySide6.QtWidgets import (
    QMainWindow,
    QScrollArea,
    QSizePolicy,
    QSplitter,
    QStackedWidget,
    QToolTip,
    QVBoxLayout,
    QWidget,
)

from abd_app.errors import AuditError
from abd_app.events import AuditFailed, AuditFinished
from abd_app.gui.actions import fill_recent, make_actions
from abd_app.gui.banner import Banner
from abd_app.gui.closing import Closing
from abd_app.gui.failure_text import failure_text
from abd_app.gui.file_chooser import FileChooser
from abd_app.gui.file_drop import FileDrop
from abd_app.gui.live.live_view import LiveView
from abd_app.gui.live.run_bar import RunBar
from abd_app.gui.look.card import scrolled
from abd_app.gui.look.theme import Theme
from abd_app.gui.look.wording import file_name
from abd_app.gui.opening import Opening
from abd_app.gui.results.handover import Handover
from abd_app.gui.results.outcome import outcome_of
from abd_app.gui.results.result_panel import ResultPanel
from abd_app.gui.session import Session
from abd_app.gui.settings import Settings
from abd_app.gui.setup.draft import Draft
from abd_app.gui.setup.setup_column import MIN_WIDTH_PX, SetupColumn
from abd_app.gui.side_windows import SideWindows
from abd_app.gui.states import State
from abd_app.gui.welcome import Welcome
from abd_app.plan import AuditPlan
from abd_app.text import visible
from abd_app.worker.failure import failure_of

_WELCOME_STATES = (State.EMPTY, State.INSPECTING, State.ASKING, State.READY, State.REFUSED)
_MARGIN_PX = 14


class MainWindow(QMainWindow):
    """One window, no wizard.

    Args:
        session: The state machine; the engine behind it is not the window's to close.
        settings: What is remembered.
        theme: The colours.
        log: Path of the log, told in error messages.
        demo: Makes the plan of the demo, given an output folder; ``None``: there is no demo.
        chooser: The file dialogs; ``None``: real ones.
        clock: Seconds, monotonic, for speed and time left.
    """

    def __init__(
        self,
        session: Session,
        settings: Settings,
        theme: Theme,
        *,
        log: Path,
        demo: Callable[[str], AuditPlan] | None = None,
        chooser: FileChooser | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.session = session
        self.draft = Draft(settings.runs_folder, self)
        self._settings = settings
        self._theme = theme
        self._log = log
        self._demo = demo
        self._chooser = chooser or FileChooser(self)
        self._clock = clock
        self.handover = Handover(session, self.draft, self._chooser, self)
        self.opening = Opening(session, self.draft, settings, demo, self)
        self.side_windows = SideWindows(session, settings, theme, self._chooser, log=log, parent=self)
        self._file_drop = FileDrop(self, lambda: not session.running)
        self._build()
        self._connect()
        self.setMinimumSize(940, 620)
        self.resize(1280, 820)
        if (geometry := settings.geometry("window")) is not None:
            self.restoreGeometry(geometry)
        if (state := settings.geometry("columns")) is not None:
            self._columns.restoreState(state)
        self._on_state_changed(session.state)

    def _build(self) -> None:
        self.actions_ = make_actions(self)
        self.setup = SetupColumn(self.session, self.draft, self._chooser)
        self.banner = Banner()
        self.closing = Closing(self.session, self.banner, self)
        self.welcome = Welcome(with_demo=self._demo is not None)
        self.live = LiveView(self.session, self._theme, self._chooser)
        self.result = ResultPanel()
        self.run_bar = RunBar(self.session, self._clock)
        self.centre = QStackedWidget()
        self.centre.addWidget(self.welcome)
        self.centre.addWidget(self._make_run_page())
        self._columns = self._make_columns()
        middle = QVBoxLayout()
        middle.setContentsMargins(_MARGIN_PX, _MARGIN_PX, _MARGIN_PX, 10)
        middle.setSpacing(12)
        middle.addWidget(self.banner)
        middle.addWidget(self._columns, 1)
        whole = QWidget()
        outer = QVBoxLayout(whole)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addLayout(middle, 1)
        outer.addWidget(self.run_bar)
        self.setCentralWidget(whole)

    def _make_run_page(self) -> QScrollArea:
        """Result and live view; what a low window or a large text leaves no room for is scrolled to."""
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self.result)
        column.addWidget(self.live, 1)
        # It is as high as it is at its width, not as it would be at its least.
        page.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Ignored)
        return scrolled(page)

    def _make_columns(self) -> QSplitter:
        columns = QSplitter(Qt.Orientation.Horizontal)
        columns.setChildrenCollapsible(False)
        columns.setHandleWidth(12)
        columns.addWidget(self.setup)
        columns.addWidget(self.centre)
        columns.setStretchFactor(1, 1)
        columns.setSizes([MIN_WIDTH_PX, 900])
        return columns

    def _connect(self) -> None:
        actions, session, handover, side = self.actions_, self.session, self.handover, self.side_windows
        for signal, slot in (
            (actions.open.triggered, self._on_open_wanted),
            (actions.demo.triggered, self.open_demo),
            (actions.quit.triggered, self.close),
            (actions.distill.triggered, self.distill),
            (actions.pause.triggered, session.pause_or_resume),
            (actions.stop.triggered, session.stop_and_keep),
            (actions.cancel.triggered, self.run_bar.ask_to_cancel),
            (actions.copy_command.triggered, self._on_copy_wanted),
            (actions.export.triggered, handover.export_onnx),
            (actions.report.triggered, handover.save_report),
            (actions.folder.triggered, handover.open_folder),
            (actions.history.triggered, side.show_history),
            (actions.settings.triggered, side.show_settings),
            (actions.help.triggered, side.show_help),
            (self.setup.teacher.openRequested, self._on_open_wanted),
            (self.setup.distillRequested, self.distill),
            (self.setup.plan.copyCommandRequested, self._on_copy_wanted),
            (self.welcome.demoRequested, self.open_demo),
            (self.result.exportRequested, handover.export_onnx),
            (self.result.reportRequested, handover.save_report),
            (self.result.folderRequested, handover.open_folder),
            (self.result.compareRequested, side.show_history),
        ):
            signal.connect(slot)
        self._connect_events()

    def _connect_events(self) -> None:
        actions, session, handover, side = self.actions_, self.session, self.handover, self.side_windows
        opening = self.opening
        for signal, slot in (
            (session.stateChanged, self._on_state_changed),
            (session.inspectionBegan, self._on_inspection_began),
            (session.devicesChanged, self.run_bar.show_devices),
            (session.jobFailed, self._on_job_failed),
            (session.runFinished, self._on_run_finished),
            (self._file_drop.dragging, self.setup.teacher.drop_zone.set_dragging),
            (self._file_drop.dropped, self.open_file),
            (handover.saved, self._on_saved),
            (handover.failed, self._on_error),
            (self.live.writeFailed, self._on_error),
            (self.live.saved, self._on_saved),
            (side.runsFolderChanged, lambda folder: setattr(self.draft, "runs", folder)),
            (side.repeatWanted, opening.repeat),
            (side.continueWanted, opening.go_on),
            (self.closing.closeWanted, self.close),
            (opening.begun, self.banner.hide),
            (opening.failed, self._on_error),
            (opening.startWanted, self.distill),
            (side.failed, self._on_error),
        ):
            signal.connect(slot)
        actions.recent.aboutToShow.connect(
            lambda: fill_recent(
                actions.recent, self._settings.recent_files, self.open_file, self._settings.clear_recent_files
            )
        )

    def open_file(self, file: str) -> None:
        """Act one: looks into a teacher file."""
        self.opening.open_file(file)

    def open_demo(self) -> None:
        """Act one with the built-in teacher: everything is filled in."""
        self.opening.open_demo()

    def distill(self) -> None:
        """Act two: starts the run as planned."""
        if not self.session.can_start:
            return
        try:
            self.setup.evaluation.check_images()
            plan = self.draft.plan(self.session.file, self.session.facts)
        except AuditError as error:
            self._on_error(error)
            return
        self.banner.hide()
        self.session.start(plan, self.setup.expected_seconds())
        self.live.setFocus()

    def _on_copy_wanted(self) -> None:
        if self.handover.copy_command():
            button = self.setup.plan.copy_command
            place = button.mapToGlobal(button.rect().bottomLeft())
            QToolTip.showText(place, self.tr("Copied to the clipboard"), button)

    def _on_saved(self, path: str) -> None:
        self.banner.show_message("good", self.tr("Saved {file}").format(file=file_name(path)), visible(path))

    def _on_error(self, error: AuditError) -> None:
        self._on_job_failed(failure_of(error))

    def _on_open_wanted(self) -> None:
        path = "" if self.session.running else self._chooser.teacher()
        if path:
            self.open_file(path)

    def _on_state_changed(self, state: State) -> None:
        session = self.session
        welcoming = state in _WELCOME_STATES
        if welcoming:
            self.welcome.show_state(state)
        self.centre.setCurrentIndex(0 if welcoming else 1)
        self.result.setVisible(state is State.FINISHED)
        self.actions_.enable_for(session, with_demo=self._demo is not None)
        self.setup.plan.copy_command.setEnabled(session.card is not None)
        self.setWindowTitle(f"{file_name(session.file)} – ABD App" if session.file else "ABD App")

    def _on_inspection_began(self) -> None:
        if self.session.state is not State.FAILED:  # why the last run failed stays
            self.banner.hide()

    def _on_run_finished(self, event: AuditFinished) -> None:
        self.live.curves.refresh()
        self.result.show_outcome(outcome_of(event.report, self.live.curves.store))

    def _on_job_failed(self, failure: AuditFailed) -> None:
        title, text, details = failure_text(failure, self._log)
        copy = {self.tr("Copy details"): lambda: QGuiApplication.clipboard().setText(details)}
        self.banner.show_message("danger", title, text, copy)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and self.session.running:
            if not event.isAutoRepeat():
                self.session.pause_or_resume()
        elif event.key() == Qt.Key.Key_Escape and self.session.running:
            self.run_bar.stop_asking()
            self.closing.stop_asking()
            self.live.setFocus()  # as when the run began
        else:
            super().keyPressEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        if not self.closing.may_close():
            event.ignore()
            return
        self._settings.set_geometry("window", self.saveGeometry())
        self._settings.set_geometry("columns", self._columns.saveState())
        super().closeEvent(event)

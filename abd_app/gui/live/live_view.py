"""The live view: tabs that follow a run, redrawn at most ten times a second whatever the engine sends."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from PySide6.QtCore import QEvent, QSize, QTimer, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QHBoxLayout, QMenu, QPlainTextEdit, QSizePolicy, QTabWidget, QToolButton, QWidget

from abd_app.errors import AuditError, RunFailedError
from abd_app.events import (
    AuditFinished,
    Event,
    FindingMade,
    ImagesDrawn,
    Measured,
    RunBegan,
    StepDone,
    TeacherInspected,
)
from abd_app.gui.file_chooser import FileChooser
from abd_app.gui.live.classes_view import ClassesView
from abd_app.gui.live.curves_view import CurvesView
from abd_app.gui.live.findings_view import FindingsView
from abd_app.gui.live.images_view import ImagesView
from abd_app.gui.live.losses_view import LossesView
from abd_app.gui.live.narration import narrate
from abd_app.gui.look.card import icon_button
from abd_app.gui.look.theme import Theme
from abd_app.gui.look.wording import tooltip
from abd_app.gui.session import Session
from abd_app.metrics_file import metrics_to_csv
from abd_app.whole_file import replaced_whole

REDRAW_INTERVAL_MS = 100
_LOG_LINES, _LEAST_LINES = 5000, 15


class LiveView(QTabWidget):
    """Curves, findings, classes, synthetic images, losses and log."""

    writeFailed = Signal(AuditError)
    """A curve file could not be written."""
    saved = Signal(str)
    """The path of a curve file that was written."""

    def __init__(self, session: Session, theme: Theme, chooser: FileChooser) -> None:
        super().__init__()
        self._session = session
        self._chooser = chooser
        self.curves = CurvesView(theme)
        self.findings = FindingsView()
        self.classes = ClassesView()
        self.images = ImagesView(theme)
        self.losses = LossesView(theme)
        self.log = QPlainTextEdit()
        self.log.setReadOnly(True)
        self.log.setMaximumBlockCount(_LOG_LINES)
        self.log.setAccessibleName(self.tr("Log of this run"))
        for page, title in (
            (self.curves, self.tr("Curves")),
            (self.findings, self.tr("Findings")),
            (self.classes, self.tr("Classes")),
            (self.images, self.tr("Synthetic images")),
            (self.losses, self.tr("Losses")),
            (self.log, self.tr("Log")),
        ):
            self.addTab(page, title)
        self.setDocumentMode(False)
        self.setCornerWidget(self._make_corner())
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        self._timer = QTimer(self)
        self._timer.setInterval(REDRAW_INTERVAL_MS)
        self._timer.timeout.connect(self._on_tick)
        self.currentChanged.connect(self._on_tick)
        self.findings.counted.connect(self._on_findings_counted)
        session.runStarted.connect(self._on_run_started)
        session.eventHappened.connect(self._on_event)

    def _make_corner(self) -> QWidget:
        self.options = self._make_options_button()
        self.save_curves = self._make_save_button()
        self._offer_to_save()
        corner = QWidget()
        line = QHBoxLayout(corner)
        line.setContentsMargins(0, 0, 0, 0)
        line.addWidget(self.options)
        line.addWidget(self.save_curves)
        return corner

    def _make_options_button(self) -> QToolButton:
        button = icon_button("options", self.tr("How the curves are drawn"))
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        menu.addActions([self.curves.smooth, self.curves.last_part, self.curves.logarithmic])
        menu.addSeparator()
        menu.addActions([self.losses.smooth, self.losses.logarithmic])
        button.setMenu(menu)
        return button

    def _make_save_button(self) -> QToolButton:
        button = icon_button("save", self.tr("Save the curves"))
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        for kind in ("PNG", "SVG", "CSV"):
            action = QAction(self.tr("Save the curves as {kind}…").format(kind=kind), menu)
            action.triggered.connect(lambda _=False, kind=kind: self._on_save_wanted(kind.lower()))
            menu.addAction(action)
        button.setMenu(menu)
        return button

    def _offer_to_save(self) -> None:
        measured = bool(self.curves.store.curves)
        self.save_curves.setEnabled(measured)
        why = self.tr("Save the curves") if measured else self.tr("There are no curves before the first measurement.")
        self.save_curves.setToolTip(tooltip(why))

    def sizeHint(self) -> QSize:
        """No higher than it must be: it takes what room there is, and the page is as high as what is above it needs."""
        return QSize(super().sizeHint().width(), self.minimumSizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """Lower, its curves could not be read."""
        return super().minimumSizeHint().expandedTo(QSize(0, self.fontMetrics().height() * _LEAST_LINES))

    def event(self, event: QEvent) -> bool:
        """Passes on that a page asks for another height: by itself, a tab widget does not."""
        if event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().event(event)

    def hasHeightForWidth(self) -> bool:
        return False  # of its pages none asks for a height

    def _on_run_started(self) -> None:
        for view in (self.curves, self.findings, self.classes, self.images, self.losses):
            view.clear()
        self.log.clear()
        self._offer_to_save()
        self._timer.start()

    def _on_event(self, event: Event) -> None:
        self.curves.take(event)
        if isinstance(event, Measured | RunBegan):
            self._offer_to_save()
        elif isinstance(event, StepDone):
            self.losses.take(event)
        elif isinstance(event, ImagesDrawn):
            self.images.take(event)
        elif isinstance(event, FindingMade):
            self.findings.take(event)
        elif isinstance(event, AuditFinished):
            self.classes.show_report(event.report)
            self.findings.finish()
        elif isinstance(event, TeacherInspected):
            self.images.grid.class_names = event.card.class_names
        if line := narrate(event):
            self.log.appendPlainText(f"{datetime.now():%H:%M:%S}  {line}")

    def _on_findings_counted(self, number: int) -> None:
        title = self.tr("Findings ({n})").format(n=number) if number else self.tr("Findings")
        self.setTabText(self.indexOf(self.findings), title)

    def _on_tick(self) -> None:
        view = self.currentWidget()
        if isinstance(view, CurvesView | ImagesView | LossesView):
            view.refresh()
        if not self._session.running:
            self._timer.stop()

    def _on_save_wanted(self, kind: str) -> None:
        path = self._chooser.save(self.tr("Save the curves"), f"curves.{kind}", f"{kind.upper()} (*.{kind})")
        if path:
            self.save(Path(path), kind)

    def save(self, path: Path, kind: str) -> None:
        """Writes the curves as ``png``, ``svg`` or ``csv``; a file that is there is replaced only by a complete one."""
        try:
            self._write(path, self._content(kind))
        except AuditError as error:
            self.writeFailed.emit(error)
        else:
            self.saved.emit(str(path))

    def _write(self, path: Path, content: bytes) -> None:
        try:
            with replaced_whole(path) as part:
                part.write_bytes(content)
        except OSError as error:
            raise RunFailedError(
                self.tr("The curves could not be saved."),
                where=str(path),
                why=str(error.strerror or error),
                remedy=self.tr("Choose another place."),
            ) from error

    def _content(self, kind: str) -> bytes:
        if kind == "csv":
            return metrics_to_csv(self.curves.store.measurements).encode()
        return self.curves.picture(kind)

"""The history: earlier runs, to be looked at, compared, repeated, continued or thrown away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QItemSelectionModel, QSignalBlocker, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import (
    QDialog,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QStackedWidget,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from abd_app.errors import AuditError, RunFailedError
from abd_app.gui.dialogs import close_button
from abd_app.gui.folders import to_trash
from abd_app.gui.look import icons
from abd_app.gui.look.labels import plain_label
from abd_app.gui.look.wording import caution_words, tooltip, trigger_name
from abd_app.gui.results.comparison import Comparison, comparison_of
from abd_app.gui.results.delivery import show_outside
from abd_app.history import PastRun, past_runs
from abd_app.plan import AuditPlan
from abd_app.text import percent, visible

_SIZE_PX = (940, 460)
_LEFT = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
_TEACHER, _FIGURES = 1, (2, 3)


class HistoryDialog(QDialog):
    """A row for each run whose folder is still there, newest first.

    Args:
        busy: The folder of the run that is on, if there is one.
        parent: The window.
        runs: The history.
    """

    repeatWanted = Signal(AuditPlan)
    """The same plan, to be run again into a new folder."""
    continueWanted = Signal(AuditPlan, str)
    """A plan, and the folder in which its run was interrupted."""
    compareWanted = Signal(Comparison)
    failed = Signal(AuditError)

    def __init__(self, busy: Callable[[], str], parent: QWidget, runs: Callable[[], list[PastRun]] = past_runs) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("History"))
        self.resize(*_SIZE_PX)
        self._busy, self._past_runs = busy, runs
        self._runs: list[PastRun] = []
        self._asked = False
        self.table = self._make_table()
        empty = plain_label(self.tr("Runs of the window and of the terminal appear here."), "muted")
        empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._stack = QStackedWidget()
        self._stack.addWidget(empty)
        self._stack.addWidget(self.table)
        self.report = self._button(self.tr("Open report"), "report", self._open_report)
        self.compare = self._button(self.tr("Compare"), "compare", self._compare)
        self.compare.setToolTip(self.tr("Curves and results of two finished runs: choose the second with Ctrl."))
        self.folder = self._button(self.tr("Open folder"), "folder", self._open_folder)
        self.again = self._button(self.tr("Run again"), "again", self._repeat)
        self.resume = self._button(self.tr("Continue"), "resume", self._continue)
        self.trash = self._button(self.tr("Move to trash"), "trash", self._throw_away)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        for button in (self.report, self.compare, self.folder, self.again, self.resume, self.trash):
            buttons.addWidget(button)
        buttons.addStretch(1)
        buttons.addWidget(close_button(self))
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 16)
        layout.setSpacing(14)
        layout.addWidget(self._stack, 1)
        layout.addLayout(buttons)
        self.refresh()

    def refresh(self) -> None:
        """Reads the history anew; the runs that were chosen stay chosen."""
        chosen = {run.folder for run in self._all_chosen()}
        self._runs = self._past_runs()
        self._fill()
        self._stack.setCurrentIndex(bool(self._runs))
        with QSignalBlocker(self.table):
            self._choose([row for row, run in enumerate(self._runs) if run.folder in chosen] or [0])
        self._enable()

    def _fill(self) -> None:
        _fit_columns(self.table, QHeaderView.ResizeMode.Interactive)  # or every cell that is set measures all others
        self.table.setRowCount(len(self._runs))
        for row, run in enumerate(self._runs):
            for column, text in enumerate(self._cells(run)):
                cell = QTableWidgetItem(text)
                cell.setToolTip(tooltip(visible(run.folder)))
                cell.setTextAlignment(_RIGHT if column in _FIGURES else _LEFT)
                self.table.setItem(row, column, cell)
        _fit_columns(self.table, QHeaderView.ResizeMode.ResizeToContents)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Delete:
            if not event.isAutoRepeat():  # a key that is held down has not answered the question
                self._throw_away()
        else:
            super().keyPressEvent(event)

    def _make_table(self) -> QTableWidget:
        headings = [self.tr("Started"), self.tr("Teacher"), self.tr("Student"), self.tr("Worst ASR"), self.tr("State")]
        table = QTableWidget(0, len(headings))
        table.setAccessibleName(self.tr("Earlier runs"))
        for column, heading in enumerate(headings):
            cell = QTableWidgetItem(heading)
            cell.setTextAlignment(_RIGHT if column in _FIGURES else _LEFT)
            table.setHorizontalHeaderItem(column, cell)
        table.horizontalHeader().setSectionResizeMode(_TEACHER, QHeaderView.ResizeMode.Stretch)
        table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        table.setSelectionMode(QTableWidget.SelectionMode.ExtendedSelection)
        table.setShowGrid(False)
        table.verticalHeader().hide()
        table.itemSelectionChanged.connect(self._enable)
        table.cellDoubleClicked.connect(self._open_report)
        return table

    def _cells(self, run: PastRun) -> tuple[str, ...]:
        about = "≈ " if run.estimated else ""
        accuracy = "–" if run.accuracy is None else about + percent(run.accuracy)
        worst = run.worst_asr
        attack = "–" if worst is None else f"{about}{percent(worst[1])}  {trigger_name(worst[0])}"
        names = {"finished": self.tr("finished"), "running": self.tr("running"), "unfinished": self.tr("unfinished")}
        state = caution_words(run.caution) or names["running" if self._is_busy(run) else run.state]
        return run.started[:16].replace("T", "  "), visible(run.teacher), accuracy, attack, state

    def _button(self, text: str, meaning: str, slot: Callable[[], None]) -> QPushButton:
        button = QPushButton(text)
        button.setAutoDefault(False)
        icons.put(button, meaning)
        button.clicked.connect(lambda _=False: slot())
        return button

    def _choose(self, rows: list[int]) -> None:
        """Selects rows; the last of them is the current one."""
        self.table.clearSelection()
        model, whole = self.table.selectionModel(), QItemSelectionModel.SelectionFlag.Rows
        for row in rows:
            model.setCurrentIndex(self.table.model().index(row, 0), whole | QItemSelectionModel.SelectionFlag.Select)

    def _all_chosen(self) -> list[PastRun]:
        """From the top."""
        rows = sorted(index.row() for index in self.table.selectionModel().selectedRows())
        return [self._runs[row] for row in rows if row < len(self._runs)]

    def _chosen(self) -> PastRun | None:
        """The run that is chosen, if it is one."""
        chosen = self._all_chosen()
        return chosen[0] if len(chosen) == 1 else None

    def _is_busy(self, run: PastRun) -> bool:
        of_this_window = bool(self._busy()) and Path(self._busy()).absolute() == Path(run.folder)
        return of_this_window or run.state == "running"

    def _enable(self) -> None:
        run, chosen = self._chosen(), self._all_chosen()
        finished = run is not None and run.state == "finished"
        self.compare.setEnabled(len(chosen) == 2 and all(one.state == "finished" for one in chosen))
        one = self.tr("Choose one run.") if run is None else ""
        occupied = self.tr("Not while a run is in progress.") if self._busy() else ""
        going_on = self.tr("A run that is still going on stays.") if any(map(self._is_busy, chosen)) else ""
        unfinished = "" if finished else self.tr("There is none before the run has finished.")
        over = self.tr("This run has finished.") if finished else ""
        elsewhere = self.tr("This run is still going on.") if going_on else ""
        _allow(self.report, one or unfinished)
        _allow(self.folder, one)
        _allow(self.again, one or occupied)
        _allow(self.resume, one or over or occupied or elsewhere)
        _allow(self.trash, going_on if chosen else self.tr("Choose a run."))
        self._ask(sure=False)

    def _ask(self, *, sure: bool) -> None:
        self._asked = sure
        several = len(self._all_chosen()) > 1
        really = self.tr("Really? Their files, too") if several else self.tr("Really? Its files, too")
        self.trash.setText(really if sure else self.tr("Move to trash"))

    def _open_report(self) -> None:
        if (run := self._chosen()) is not None and run.state == "finished":
            self._show_outside(Path(run.folder) / "report.html")

    def _compare(self) -> None:
        later, earlier = self._all_chosen()
        try:
            self.compareWanted.emit(comparison_of(earlier, later))
        except AuditError as error:
            self.failed.emit(error)

    def _open_folder(self) -> None:
        if (run := self._chosen()) is not None:
            self._show_outside(Path(run.folder))

    def _show_outside(self, path: Path) -> None:
        try:
            show_outside(path)
        except AuditError as error:
            self.failed.emit(error)

    def _repeat(self) -> None:
        if (plan := self._plan()) is not None:
            self.repeatWanted.emit(plan)
            self.close()

    def _continue(self) -> None:
        if (run := self._chosen()) is not None and (plan := self._plan()) is not None:
            self.continueWanted.emit(plan, run.folder)
            self.close()

    def _plan(self) -> AuditPlan | None:
        run = self._chosen()
        if run is None:
            return None
        try:
            return AuditPlan.from_dict(run.plan)
        except AuditError as error:
            self.failed.emit(error)
            return None

    def _throw_away(self) -> None:
        if not self.trash.isEnabled():
            return
        if not self._asked:
            self._ask(sure=True)
            return
        for run in self._all_chosen():
            if not to_trash(run.folder):
                what = self.tr("The run could not be moved to the trash.")
                self.failed.emit(RunFailedError(what, where=run.folder, remedy=self.tr("Delete its folder by hand.")))
        self.refresh()


def _allow(button: QPushButton, why_not: str) -> None:
    """Disables a button that has a reason, which its tooltip tells."""
    button.setEnabled(not why_not)
    button.setToolTip(why_not)


def _fit_columns(table: QTableWidget, mode: QHeaderView.ResizeMode) -> None:
    """Sets how all columns are made as wide as they are, but the teacher's, which takes what is left."""
    for column in range(table.columnCount()):
        if column != _TEACHER:
            table.horizontalHeader().setSectionResizeMode(column, mode)

"""A history that stays open beside the window: it is there once, follows the runs, and does not hold the window up."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from abd_app import history
from abd_app.events import AuditFailed, RunBegan
from abd_app.gui.main_window import MainWindow
from abd_app.gui.results.history_dialog import HistoryDialog
from abd_app.history import PastRun
from abd_app.plan import AuditPlan
from abd_app.worker.messages import PauseChanged
from tests.gui.conftest import StandInEngine
from tests.gui.test_history import REPORT, _left, _opened, _row
from tests.gui.test_window import make_ready


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "data_folder", lambda: tmp_path / "data")


def test_a_long_history_that_is_open_is_filled_before_its_columns_are_measured(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch, qapp: QApplication
) -> None:
    plan = AuditPlan("teacher.pth", "out").to_dict()
    runs = [PastRun(f"run {number}", "2026-01-01T00:00:00", "finished", plan, REPORT) for number in range(60)]
    dialog = HistoryDialog(lambda: "", window, lambda: runs)
    dialog.show()
    qapp.processEvents()
    table, measured = dialog.table, list[int]()
    width_of = table.sizeHintForColumn

    def measure(column: int) -> int:
        measured.append(column)
        return width_of(column)

    monkeypatch.setattr(table, "sizeHintForColumn", measure)
    dialog.refresh()
    qapp.processEvents()
    assert 1 <= measured.count(0) <= 10
    assert all(table.columnWidth(column) >= width_of(column) for column in range(table.columnCount()))


def test_all_that_are_chosen_are_chosen_again_at_once(window: MainWindow, tmp_path: Path) -> None:
    for number in range(20):
        _left(tmp_path / str(number), finished=True)
    dialog = _opened(window)
    dialog.table.selectAll()
    changes: list[bool] = []
    dialog.table.itemSelectionChanged.connect(lambda: changes.append(True))
    dialog.refresh()
    assert len(dialog._all_chosen()) == 20 and dialog.trash.isEnabled()
    assert len(changes) <= 2, "not once for each"


def test_the_history_is_opened_once_and_then_shown_anew(window: MainWindow, tmp_path: Path) -> None:
    dialog = _opened(window)
    _left(tmp_path / "meanwhile, in a terminal", finished=True)
    dialog.showMinimized()
    assert _opened(window) is dialog
    assert not dialog.isMinimized() and dialog.table.rowCount() == 1


def test_an_open_history_is_read_where_a_run_begins_and_ends_but_not_where_it_is_paused(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_ready(window, stand_in, str(tmp_path / "t.pth"))
    dialog = _opened(window)
    read: list[str] = []
    monkeypatch.setattr(dialog, "_past_runs", lambda: read.append("read") or history.past_runs())
    window.distill()
    assert window.session.plan is not None
    out = Path(window.session.plan.out)
    out.mkdir(parents=True)
    (out / "plan.json").write_text(window.session.plan.to_json())
    stand_in.say(RunBegan(str(out), "new"))
    assert _row(dialog, 0)[-1] == "running"
    begun = len(read)
    stand_in.say(PauseChanged(True), PauseChanged(False))
    assert len(read) == begun
    stand_in.say(AuditFailed("It failed.", "", "", "", 4))
    assert len(read) == begun + 1 and _row(dialog, 0)[-1] == "unfinished"

"""The history in the window: earlier runs are looked at, run again, continued and thrown away."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QDesktopServices, QKeyEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from abd_app import history
from abd_app.errors import AuditError
from abd_app.events import RunBegan
from abd_app.gui.main_window import MainWindow
from abd_app.gui.results import history_dialog
from abd_app.gui.results.history_dialog import HistoryDialog
from abd_app.gui.states import State
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec
from abd_app.worker.messages import AuditJob, InspectJob
from tests.gui.conftest import StandInEngine
from tests.gui.test_window import make_ready, say_ready

REPORT = {"summary": "Good.", "teacher": {}, "student": {"accuracy": 0.681, "asr": {"blend": 0.006, "sig": 0.02}}}
FACTS = TeacherFacts(input_size=(32, 32), mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "data_folder", lambda: tmp_path / "data")


def _left(folder: Path, *, finished: bool, started_s: int = 1_000_000) -> AuditPlan:
    plan = AuditPlan(
        str(folder.parent / "teacher.pth"), str(folder), FACTS, steps=7, seed=3, triggers=(TriggerSpec("sig"),)
    )
    folder.mkdir()
    (folder / "plan.json").write_text(plan.to_json())
    if finished:
        (folder / "report.json").write_text(json.dumps(REPORT))
    history.remember(folder)
    return plan


def _opened(window: MainWindow) -> HistoryDialog:
    window.actions_.history.trigger()
    (dialog,) = [one for one in window.findChildren(HistoryDialog) if one.isVisible()]
    assert not dialog.isModal()
    return dialog


def _row(dialog: HistoryDialog, row: int) -> list[str]:
    cells = [dialog.table.item(row, column) for column in range(dialog.table.columnCount())]
    return [cell.text() for cell in cells if cell is not None]


def _enabled(dialog: HistoryDialog) -> list[bool]:
    return [one.isEnabled() for one in (dialog.report, dialog.folder, dialog.again, dialog.resume, dialog.trash)]


def test_a_row_says_what_became_of_a_run(window: MainWindow, tmp_path: Path) -> None:
    dialog = _opened(window)
    assert dialog.table.rowCount() == 0 and not any(_enabled(dialog))
    dialog.close()
    _left(tmp_path / "done", finished=True)
    dialog = _opened(window)
    assert _row(dialog, 0)[1:] == ["teacher.pth", "68.1 %", "2.0 %  Stripes (sig)", "finished"]
    assert _enabled(dialog) == [True, True, True, False, True]


@pytest.mark.parametrize(("caution", "said"), [("danger", "do not use it yet"), ("warning", "look before use")])
def test_a_row_says_what_a_result_asks_for(window: MainWindow, tmp_path: Path, caution: str, said: str) -> None:
    _left(tmp_path / "done", finished=True)
    (tmp_path / "done" / "report.json").write_text(json.dumps({**REPORT, "caution": caution}))
    assert _row(_opened(window), 0)[-1] == said


def test_report_and_folder_are_shown_by_the_system(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _left(tmp_path / "done", finished=True)
    (tmp_path / "done" / "report.html").write_text("<h1>report</h1>")
    shown: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: shown.append(url.toLocalFile()) or True)
    dialog = _opened(window)
    dialog.report.click()
    dialog.folder.click()
    assert shown == [str(tmp_path / "done" / "report.html"), str(tmp_path / "done")]


def test_a_report_or_folder_that_the_system_does_not_show_is_told(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _left(tmp_path / "done", finished=True)
    shown: list[str] = []
    monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: bool(shown.append(url.toLocalFile())))
    dialog = _opened(window)
    dialog.report.click()
    assert shown == [], "there is no report"
    assert "no longer there" in window.banner.text and str(tmp_path / "done" / "report.html") in window.banner.text
    dialog.folder.click()
    assert shown == [str(tmp_path / "done")]
    assert "could not open" in window.banner.text and shown[0] in window.banner.text


def test_the_same_plan_is_run_again_into_a_folder_of_its_own(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path
) -> None:
    plan = _left(tmp_path / "done", finished=True)
    _opened(window).again.click()
    assert stand_in.jobs == [InspectJob(plan.teacher_file, FACTS)]
    say_ready(stand_in, plan.teacher_file, FACTS)
    assert window.session.state is State.READY, "the user starts it"
    window.distill()
    job = stand_in.jobs[-1]
    assert isinstance(job, AuditJob)
    assert job.plan == replace(plan, out=job.plan.out) and Path(job.plan.out).parent == tmp_path / "runs"


def test_what_was_chosen_stays_chosen_when_the_history_is_read_anew(window: MainWindow, tmp_path: Path) -> None:
    for name in ("one", "two"):
        _left(tmp_path / name, finished=True)
    dialog = _opened(window)
    dialog.table.selectRow(1)
    chosen = dialog._chosen()
    _left(tmp_path / "three", finished=True)
    dialog.refresh()
    assert chosen is not None and dialog._chosen() == chosen


def test_the_run_that_is_on_can_only_be_looked_at(window: MainWindow, stand_in: StandInEngine, tmp_path: Path) -> None:
    make_ready(window, stand_in, str(tmp_path / "t.pth"))
    window.distill()
    assert window.session.plan is not None
    out = Path(window.session.plan.out)
    out.mkdir(parents=True)
    (out / "plan.json").write_text(window.session.plan.to_json())
    stand_in.say(RunBegan(str(out), "new"))
    dialog = _opened(window)
    assert _row(dialog, 0)[-1] == "running"
    assert _enabled(dialog) == [False, True, False, False, False]
    window.session.cancel()


def test_a_run_is_thrown_away_at_the_second_click(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    for name in ("one", "two"):
        _left(tmp_path / name, finished=True)

    def move(folder: str) -> bool:
        shutil.rmtree(folder)
        return True

    monkeypatch.setattr(history_dialog, "to_trash", move)
    dialog = _opened(window)
    qtbot.mouseClick(dialog.trash, Qt.MouseButton.LeftButton)
    dialog.table.selectRow(1)
    assert dialog.trash.text() == "Move to trash", "what was asked about another one is forgotten"
    qtbot.mouseClick(dialog.trash, Qt.MouseButton.LeftButton)
    assert dialog.table.rowCount() == 2 and "Really" in dialog.trash.text()
    qtbot.mouseClick(dialog.trash, Qt.MouseButton.LeftButton)
    assert dialog.table.rowCount() == 1


def test_several_runs_are_thrown_away_together_by_key(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, qtbot: QtBot
) -> None:
    for name in ("one", "two", "three"):
        _left(tmp_path / name, finished=True)
    thrown: list[str] = []
    monkeypatch.setattr(history_dialog, "to_trash", lambda folder: bool(thrown.append(Path(folder).name)) or True)
    dialog = _opened(window)
    dialog.table.selectAll()
    for _ in range(2):
        assert thrown == [], "it is asked first"
        qtbot.keyClick(dialog.table, Qt.Key.Key_Delete)
    assert sorted(thrown) == ["one", "three", "two"]


def test_a_key_that_is_held_down_answers_no_question(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _left(tmp_path / "run", finished=True)
    monkeypatch.setattr(history_dialog, "to_trash", lambda folder: pytest.fail("nobody has confirmed it"))
    dialog = _opened(window)
    for repeated in (False, True, True):
        pressed = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Delete, Qt.KeyboardModifier.NoModifier, "", repeated)
        QApplication.sendEvent(dialog, pressed)
    assert "Really" in dialog.trash.text()


def test_what_cannot_be_done_is_said_in_the_window(
    window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _left(tmp_path / "run", finished=True)
    monkeypatch.setattr(history_dialog, "to_trash", lambda folder: False)
    dialog = _opened(window)
    said: list[AuditError] = []
    dialog.failed.connect(said.append)
    dialog.trash.click()
    dialog.trash.click()
    assert said[0].where == str(tmp_path / "run") and "trash" in window.banner.text
    (tmp_path / "run" / "plan.json").write_text('{"of": "another version"}')
    dialog.refresh()
    dialog.again.click()
    assert "not an audit plan" in str(said[1]) and dialog.isVisible()


def test_a_button_that_is_off_says_why(window: MainWindow, stand_in: StandInEngine, tmp_path: Path) -> None:
    dialog = _opened(window)
    assert dialog.trash.toolTip() == "Choose a run." and dialog.again.toolTip() == "Choose one run."
    _left(tmp_path / "done", finished=True)
    _left(tmp_path / "half", finished=False)
    dialog.refresh()
    rows = {run.state: row for row, run in enumerate(dialog._runs)}
    dialog.table.selectRow(rows["finished"])
    assert dialog.resume.toolTip() == "This run has finished." and dialog.report.toolTip() == ""
    dialog.table.selectRow(rows["unfinished"])
    assert "has finished" in dialog.report.toolTip() and dialog.resume.toolTip() == ""
    dialog.table.selectAll()
    assert dialog.folder.toolTip() == "Choose one run." and dialog.trash.toolTip() == ""
    make_ready(window, stand_in, str(tmp_path / "t.pth"))
    window.distill()
    dialog.refresh()
    dialog.table.selectRow(rows["unfinished"])
    assert dialog.resume.toolTip() == dialog.again.toolTip() == "Not while a run is in progress."
    off = (dialog.report, dialog.folder, dialog.again, dialog.resume, dialog.trash)
    assert [bool(button.toolTip()) for button in off] == [not button.isEnabled() for button in off]
    window.session.cancel()

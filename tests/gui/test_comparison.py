"""Two runs of the history are compared: their curves, results, and what was different."""

from __future__ import annotations

import json
import os
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QItemSelectionModel, Qt
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot

from abd_app import history
from abd_app.errors import AuditError
from abd_app.events import AuditFinished, Measured
from abd_app.gui.live.curves import CurveStore
from abd_app.gui.look.theme import Theme
from abd_app.gui.main_window import MainWindow
from abd_app.gui.results.compare_dialog import CompareDialog
from abd_app.gui.results.comparison import Comparison, Row, comparison_of
from abd_app.gui.results.history_dialog import HistoryDialog
from abd_app.metrics_file import metrics_to_csv
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec
from tests.gui.conftest import StandInEngine
from tests.gui.test_window import make_ready


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "data_folder", lambda: tmp_path / "data")


def _finished(folder: Path, plan: AuditPlan, rates: list[float], *, method: str, started_s: int) -> None:
    folder.mkdir()
    (folder / "plan.json").write_text(replace(plan, out=str(folder)).to_json())
    os.utime(folder / "plan.json", (started_s, started_s))
    measured = [Measured("student", 10 * step, rate, 100, {"sig": 0.1}, {"sig": 90}) for step, rate in enumerate(rates)]
    (folder / "metrics.csv").write_text(metrics_to_csv([Measured("teacher", 0, 0.9, 100, {}, {}), *measured]))
    student = {"architecture": "wrn-16-1", "accuracy": rates[-1], "images": 100}
    student |= {"asr": {"sig": 0.1}, "asr_images": {"sig": 90}}
    report = {"summary": "Good.", "teacher": {"sha256": "ab" * 32}, "student": student}
    report |= {"method": method, "steps": 10 * len(rates), "wall_s": 30.0, "device": "CPU"}
    (folder / "report.json").write_text(json.dumps(report))
    history.remember(folder)


@pytest.fixture
def two_runs(tmp_path: Path) -> tuple[Path, Path]:
    plan = AuditPlan("teacher.pth", "out", seed=3, triggers=(TriggerSpec("sig"),))
    _finished(tmp_path / "earlier", plan, [0.2, 0.5], method="ood", started_s=1_000_000)
    _finished(
        tmp_path / "later", replace(plan, seed=4, effort="quick"), [0.3, 0.6, 0.7], method="fast", started_s=2_000_000
    )
    return tmp_path / "earlier", tmp_path / "later"


def _select_both(dialog: HistoryDialog) -> None:
    model, flags = dialog.table.model(), QItemSelectionModel.SelectionFlag
    dialog.table.selectionModel().select(model.index(1, 0), flags.Select | flags.Rows)


def test_results_and_what_was_different_are_told(two_runs: tuple[Path, Path]) -> None:
    later, earlier = history.past_runs()
    comparison = comparison_of(earlier, later)
    assert comparison.results == (
        Row("Accuracy", "50.0 % of 100", "70.0 % of 100"),
        Row("ASR Stripes (sig)", "10.0 % of 90", "10.0 % of 90"),
        Row("Time", "30 s", "30 s"),
    )
    assert comparison.differences == (
        Row("Image source", "ood", "fast"),
        Row("Effort", "auto", "quick"),
        Row("Steps", "20", "30"),
        Row("Seed", "3", "4"),
    )
    assert [name.split(",")[0] for name in comparison.names] == ["teacher.pth", "teacher.pth"]


def test_pictures_of_one_name_are_told_apart_over_both_runs(two_runs: tuple[Path, Path]) -> None:
    one, two, other = "/r/one/patch.png", "/r/two/patch.png", "/r/two/spot.png"
    for folder, asr in zip(two_runs, ({one: 0.97, two: 0.02}, {two: 0.03, other: 0.5}), strict=True):
        report = json.loads((folder / "report.json").read_text())
        report["student"] |= {"asr": asr, "asr_images": dict.fromkeys(asr, 90)}
        (folder / "report.json").write_text(json.dumps(report))
    comparison = comparison_of(*sorted(history.past_runs(), key=lambda run: run.folder))
    assert [row._replace(name=row.name.replace("\\", "/")) for row in comparison.results[1:-1]] == [
        Row("ASR one/patch.png", "97.0 % of 90", "–"),
        Row("ASR two/patch.png", "2.0 % of 90", "3.0 % of 90"),
        Row("ASR spot.png", "–", "50.0 % of 90"),
    ]


def test_two_finished_runs_are_chosen_and_their_curves_drawn(
    window: MainWindow, stand_in: StandInEngine, two_runs: tuple[Path, Path], qtbot: QtBot
) -> None:
    make_ready(window, stand_in)
    window.distill()
    stand_in.say(AuditFinished("out", {}))
    window.result.compare.click()
    (dialog,) = [one for one in window.findChildren(HistoryDialog) if one.isVisible()]
    assert not dialog.compare.isEnabled(), "one run is chosen"
    _select_both(dialog)
    assert dialog.compare.isEnabled() and dialog.trash.isEnabled() and not dialog.report.isEnabled()
    dialog.refresh()
    assert dialog.compare.isEnabled(), "what was chosen stays chosen"
    dialog.compare.click()
    (shown,) = window.findChildren(CompareDialog)
    assert shown.isVisible() and not shown.isModal()
    assert (
        shown.values_at(25)
        == "Step 25   ·   A: accuracy 50.0 %, ASR sig 10.0 %   ·   B: accuracy 70.0 %, ASR sig 10.0 %"
    )
    names = [shown.table.item(row, 0) for row in range(shown.table.rowCount())]
    assert [cell.text() for cell in names if cell is not None][-5:] == [
        "What was different",
        "Image source",
        "Effort",
        "Steps",
        "Seed",
    ]
    before = shown.grab().toImage()
    shown.legend._chips["B"].click()
    assert shown.grab().toImage() != before


def test_a_long_name_of_a_trigger_leaves_room_for_the_numbers(theme: Theme, qtbot: QtBot) -> None:
    name, value = "ASR " + 30 * "long-name-" + ".png", "99.0 % of 1,080"
    curves = CurveStore()
    curves.take(Measured("student", 1, 0.5, 100, {"sig": 0.1}, {"sig": 90}))
    parent = QWidget()
    qtbot.addWidget(parent)
    dialog = CompareDialog(Comparison(("one", "two"), (curves, curves), (Row(name, value, value),), ()), theme, parent)
    dialog.show()
    table = dialog.table
    widths = [table.columnWidth(column) for column in range(3)]
    assert widths[0] <= 0.4 * table.viewport().width() + 1 and sum(widths) <= table.viewport().width()
    assert min(widths[1:]) > table.sizeHintForColumn(1) and table.textElideMode() == Qt.TextElideMode.ElideMiddle
    cell = table.item(1, 0)
    assert cell is not None and name in cell.toolTip()


def test_a_run_that_is_not_finished_is_not_compared(window: MainWindow, two_runs: tuple[Path, Path]) -> None:
    (two_runs[0] / "report.json").unlink()
    window.actions_.history.trigger()
    (dialog,) = [one for one in window.findChildren(HistoryDialog) if one.isVisible()]
    _select_both(dialog)
    assert not dialog.compare.isEnabled()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("metrics.csv", "step,role\n1,student\n", "curves of this run cannot be read"),
        ("metrics.csv", None, "curves of this run cannot be read"),
        ("plan.json", '{"of": "another version"}', "not an audit plan"),
    ],
)
def test_files_that_cannot_be_read_are_named(
    window: MainWindow, two_runs: tuple[Path, Path], name: str, text: str | None, said: str
) -> None:
    broken = two_runs[0] / name
    if text is None:
        broken.unlink()
    else:
        broken.write_text(text)
    with pytest.raises(AuditError, match=said) as raised:
        comparison_of(*sorted(history.past_runs(), key=lambda run: run.folder))
    assert str(two_runs[0]) in raised.value.where
    window.actions_.history.trigger()
    (dialog,) = [one for one in window.findChildren(HistoryDialog) if one.isVisible()]
    _select_both(dialog)
    dialog.compare.click()
    assert said.rsplit(maxsplit=1)[-1] in window.banner.text and not window.findChildren(CompareDialog)


@pytest.mark.parametrize(
    "odd",
    [{"student": {"accuracy": "high", "asr": {}}}, {"defences": None}, {"student": {"accuracy": 0.5, "asr": [1]}}],
)
def test_a_report_that_somebody_else_wrote_is_named(two_runs: tuple[Path, Path], odd: dict[str, Any]) -> None:
    report = json.loads((two_runs[0] / "report.json").read_text())
    (two_runs[0] / "report.json").write_text(json.dumps(report | odd))
    with pytest.raises(AuditError, match="report of this run cannot be read") as raised:
        comparison_of(*history.past_runs())
    assert raised.value.where == str(two_runs[0] / "report.json")


def test_every_choice_of_a_plan_can_be_told_apart(two_runs: tuple[Path, Path]) -> None:
    """But for those that say where something is written, and how long a run was to take: steps tell how long it did."""
    (run, _) = history.past_runs()
    plan = AuditPlan.from_json(json.dumps(run.plan))
    other: dict[str, Any] = {
        "teacher_file": "another.pth", "facts": TeacherFacts(num_classes=3), "defense": "sv", "effort": "paper",
        "seed": 9, "precision": "fp32", "data": "d.npz", "triggers": (), "target_class": 7, "compare": True,
        "picture": "p.png",
    }  # fmt: skip
    told_by_the_report = {"method", "student", "device"}
    assert {field.name for field in fields(AuditPlan)} == {
        *other, *told_by_the_report, "out", "resume", "steps", "minutes"
    }  # fmt: skip
    for name, value in other.items():
        changed = replace(run, plan=replace(plan, **{name: value}).to_dict())
        assert len(comparison_of(run, changed).differences) == 1, name

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import QApplication, QLabel
from pytestqt.qtbot import QtBot

from abd_app.events import AuditFailed, AuditFinished, CostEstimated, DevicesListed, Measured, TeacherInspected
from abd_app.gui.look import icons
from abd_app.gui.main_window import MainWindow
from abd_app.gui.settings import Settings
from abd_app.gui.states import State
from abd_app.plan import TeacherFacts, TriggerSpec
from abd_app.teacher import Finding
from abd_app.worker.messages import AuditJob, InspectionFinished, InspectJob
from tests.gui.conftest import AnsweredChooser, StandInEngine, teacher_file
from tests.gui.fake_runner import card

NASTY = "<b>bold<\u202eevil>\n&amp; модель.pth"


def drop(window: MainWindow, *paths: Path) -> bool:
    """Drags files over the window and lets go; False if the window did not want them."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    arguments = (Qt.DropAction.CopyAction, data, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    enter = QDragEnterEvent(window.rect().center(), *arguments)
    QApplication.sendEvent(window, enter)
    if not enter.isAccepted():
        return False
    assert window.setup.teacher.drop_zone.property("dragging")
    QApplication.sendEvent(window, QDropEvent(QPointF(window.rect().center()), *arguments))
    assert not window.setup.teacher.drop_zone.property("dragging")
    return True


def make_ready(
    window: MainWindow, stand_in: StandInEngine, file: str = "t.pth", facts: TeacherFacts | None = None
) -> None:
    window.open_file(file)
    say_ready(stand_in, file, facts)


def say_ready(stand_in: StandInEngine, file: str, facts: TeacherFacts | None = None) -> None:
    """The engine has looked into the file, and nothing is to be asked."""
    stand_in.say(
        TeacherInspected(card(file, facts or TeacherFacts())),
        CostEstimated(
            "ood",
            "On a CPU it learns most per minute.",
            {"quick": 150.0, "standard": 900.0, "paper": 9e4},
            steps={"quick": 3000, "standard": 18_000, "paper": 300_000},
        ),
        InspectionFinished(),
    )


def shown_texts(window: MainWindow) -> str:
    return "\n".join(label.text() for label in window.findChildren(QLabel) if label.isVisible())


def test_a_dropped_file_is_inspected(window: MainWindow, stand_in: StandInEngine, tmp_path: Path) -> None:
    path = teacher_file(tmp_path, "модель ✓.pth")
    assert drop(window, path)
    assert stand_in.jobs == [InspectJob(str(path), TeacherFacts())]
    assert window.session.state is State.INSPECTING
    assert not drop(window, tmp_path) or len(stand_in.jobs) == 2


def test_a_file_is_opened_by_dialog_key_and_recent_menu(
    window: MainWindow, stand_in: StandInEngine, chooser: AnsweredChooser, settings: Settings, tmp_path: Path
) -> None:
    chooser.answer = str(teacher_file(tmp_path))
    window.setup.teacher.drop_zone.clicked.emit()
    window.actions_.recent.aboutToShow.emit()
    assert window.actions_.recent.actions()[0].text() == "No files yet", "who knows whether it is a teacher?"
    say_ready(stand_in, chooser.answer)
    window.actions_.recent.aboutToShow.emit()
    assert window.actions_.recent.actions()[0].text() == "ready.pth"
    window.actions_.recent.actions()[0].trigger()
    assert [job.file for job in stand_in.jobs if isinstance(job, InspectJob)] == [chooser.answer] * 2
    assert settings.recent_files == [chooser.answer]
    chooser.answer = ""
    window.actions_.open.trigger()
    assert len(stand_in.jobs) == 2


def test_what_was_chosen_to_measure_with_serves_the_teachers_that_are_opened_next(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path
) -> None:
    window.setup.evaluation.choose_data(str(tmp_path / "images.npz"))
    window.setup.evaluation.add_triggers(TriggerSpec("sig"))
    window.setup.evaluation.target.setValue(2)
    for name in ("first.pth", "second.pth"):
        make_ready(window, stand_in, str(tmp_path / name))
        window.distill()
        plan = stand_in.jobs[-1].plan  # type: ignore[union-attr]
        assert (plan.data, plan.triggers, plan.target_class) == (
            str(tmp_path / "images.npz"), (TriggerSpec("sig"),), 2
        )  # fmt: skip
        stand_in.say(AuditFinished(str(tmp_path), {}))


@pytest.mark.parametrize("caution", ["info", "danger"])
def test_export_is_recommended_unless_the_student_is_not_to_be_used(
    window: MainWindow, stand_in: StandInEngine, caution: str
) -> None:
    make_ready(window, stand_in)
    window.distill()
    stand_in.say(
        AuditFinished("out", {"caution": caution, "student": {}, "stopped_early": True, "steps": 11, "wall_s": 32})
    )
    export = window.result.export
    assert export.isEnabled() and (export.property("role") == "primary") == (caution == "info")
    assert bool(export.toolTip()) == (caution == "danger")
    assert "stopped early: 11 steps in 32 s" in shown_texts(window)


def test_the_three_acts(
    window: MainWindow, stand_in: StandInEngine, chooser: AnsweredChooser, qtbot: QtBot, tmp_path: Path
) -> None:
    button = window.setup.distill
    assert not button.isEnabled()
    make_ready(window, stand_in, str(tmp_path / "t.pth"))
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    job = stand_in.jobs[-1]
    assert isinstance(job, AuditJob)
    assert job.plan.teacher_file == str(tmp_path / "t.pth")
    assert Path(job.plan.out).parent == tmp_path / "runs"
    assert not window.result.isVisible()
    out = tmp_path / "out"
    out.mkdir()
    (out / "student.onnx").write_bytes(b"student")
    (out / "report.html").write_text("report")
    stand_in.say(Measured("student", 1, 0.9, 1200, {"sig": 0.1}, {"sig": 1080}))
    report = {"summary": "It is so.", "student": {"accuracy": 0.9, "asr": {"sig": 0.1}}, "not_tested": ["The rest."]}
    stand_in.say(AuditFinished(str(out), report))
    assert window.result.sentence.text() == "It is so."
    texts = shown_texts(window)
    assert "90.0 %" in texts
    assert "of 1,080" in texts
    assert "Not tested: The rest." in texts
    chooser.answer = str(tmp_path / "мой student.onnx")
    qtbot.mouseClick(window.result.export, Qt.MouseButton.LeftButton)
    assert Path(chooser.answer).read_bytes() == b"student"
    assert Path(chooser.suggestion).name == "t-student.onnx"
    assert "мой student.onnx" in window.banner.text
    chooser.answer = str(tmp_path / "r.html")
    window.actions_.report.trigger()
    assert Path(chooser.answer).read_text() == "report"


def test_automatic_is_explained_for_the_device_that_was_chosen(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path
) -> None:
    plan = window.setup.plan
    gpu = ("cuda", "GPU", 0)
    stand_in.say(DevicesListed((gpu, ("cpu", "CPU", 0))), job=0)
    make_ready(window, stand_in, str(tmp_path / "t.pth"))
    window.draft.choose(steps=10)
    assert "On a CPU" in shown_texts(window) and "is being measured" not in shown_texts(window)
    plan.device.show_value("cuda")
    plan.device.chosen.emit("cuda")
    job = stand_in.jobs[-1]
    assert isinstance(job, InspectJob) and job.choices.device == "cuda"
    assert "On a CPU" not in shown_texts(window) and "is being measured" in shown_texts(window)
    inspected = TeacherInspected(card(job.file, job.facts))
    stand_in.say(inspected, CostEstimated("fast", "It has statistics.", {"quick": 5.0}), InspectionFinished())
    assert plan.method.currentText() == "Automatic: fast"
    assert "It has statistics." in shown_texts(window) and "is being measured" not in shown_texts(window)
    window.open_file(str(tmp_path / "other.pth"))
    assert stand_in.jobs[-1] == InspectJob(str(tmp_path / "other.pth"), TeacherFacts(), window.draft.choices())


def test_automatic_is_explained_for_a_purified_teacher_too(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path
) -> None:
    make_ready(window, stand_in, str(tmp_path / "t.pth"))
    cost = CostEstimated("ood", "On a CPU it learns most.", {"quick": 5.0}, ("fast", "It has statistics."))
    stand_in.say(cost, InspectionFinished())
    for student, method, why in (
        ("purified", "fast", "It has statistics."),
        ("auto", "ood", "On a CPU it learns most."),
    ):
        window.setup.plan.student.show_value(student)
        window.setup.plan.student.chosen.emit(student)
        assert window.setup.plan.method.currentText() == f"Automatic: {method}"
        assert why in shown_texts(window)


def test_the_demo_is_ready_for_the_click(window: MainWindow, stand_in: StandInEngine, tmp_path: Path) -> None:
    window.open_demo()
    job = stand_in.jobs[-1]
    assert isinstance(job, InspectJob)
    assert job.facts.num_classes == 10
    stand_in.say(TeacherInspected(card(job.file, job.facts)), InspectionFinished())
    window.distill()
    run = stand_in.jobs[-1]
    assert isinstance(run, AuditJob)
    assert [trigger.name for trigger in run.plan.triggers] == ["sticker"]
    assert (run.plan.target_class, run.plan.minutes) == (3, 2.0)
    assert Path(run.plan.out).parent == tmp_path / "runs"


def test_a_refusal_says_what_where_why_and_what_to_do(window: MainWindow, stand_in: StandInEngine) -> None:
    window.open_file("page.pth")
    stand_in.say(AuditFailed("Not a model.", "page.pth", "It is a web page.", "Ask for the file.", 3, "the details"))
    for part in ("Not a model.", "page.pth", "It is a web page.", "Ask for the file.", "abd-app.log"):
        assert part in window.banner.text
    window.banner.buttons()["Copy details"].click()
    assert "the details" in QGuiApplication.clipboard().text()
    assert not window.setup.distill.isEnabled()
    make_ready(window, stand_in)
    assert not window.banner.isVisible()
    assert window.setup.distill.isEnabled()


def test_texts_of_strangers_are_shown_and_not_obeyed(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path
) -> None:
    window.open_file(str(tmp_path / NASTY))
    nasty = card(NASTY, TeacherFacts())
    finding = Finding("warning", "<img src=x>", "\u202ereversed")
    stand_in.say(
        TeacherInspected(
            dataclasses.replace(nasty, class_names=("<i>a</i>",) * 10, architecture="<h1>x", findings=(finding,))
        ),
        InspectionFinished(),
    )
    QApplication.processEvents()
    for label in window.findChildren(QLabel):
        assert label.textFormat() is Qt.TextFormat.PlainText or not label.text(), label.text()
        assert "\u202e" not in label.text() + label.toolTip()
    assert "<h1>x" in shown_texts(window)
    assert "&lt;b&gt;bold" in next(
        label.toolTip() for label in window.setup.teacher.findChildren(QLabel) if "bold" in label.toolTip()
    )


@pytest.mark.parametrize(
    ("caution", "told"), [("danger", "Do not use it yet"), ("warning", "Look before use"), ("info", "")]
)
def test_a_result_that_asks_for_caution_has_no_check_mark(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path, caution: str, told: str
) -> None:
    make_ready(window, stand_in, str(tmp_path / "t.pth"))
    window.distill()
    report = {"summary": "So.", "caution": caution, "student": {"accuracy": 0.9, "asr": {}}}
    stand_in.say(AuditFinished(str(tmp_path), report))
    symbol = window.result.symbol
    assert symbol.toolTip() == told and symbol.accessibleName() == (told or "Result")
    shield = QLabel()
    icons.put(shield, "distill", "accent", 24)
    assert (symbol.pixmap().toImage() == shield.pixmap().toImage()) == (caution == "info")

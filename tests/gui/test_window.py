from __future__ import annotations

import dataclasses
import shlex
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import QAbstractButton, QApplication, QComboBox, QLabel, QLineEdit, QSplitter
from pytestqt.qtbot import QtBot

from abd_app.events import AuditFailed, AuditFinished, CostEstimated, DevicesListed, Measured, TeacherInspected
from abd_app.gui.main_window import MainWindow
from abd_app.gui.session import State
from abd_app.gui.settings import Settings
from abd_app.gui.theme import Theme
from abd_app.plan import AuditPlan, TeacherFacts
from abd_app.teacher import Finding
from abd_app.worker.messages import AuditJob, InspectionFinished, InspectJob
from tests.gui.conftest import AnsweredChooser, MakeWindow, StandInEngine, teacher_file
from tests.gui.fake_runner import card

NASTY = "<b>bold<\u202eevil>\n&amp; модель.pth"


def drop(window: MainWindow, path: Path) -> bool:
    """Drags a file over the window and lets go; False if the window did not want it."""
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
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
    stand_in.say(
        TeacherInspected(card(file, facts or TeacherFacts())),
        CostEstimated("ood", "On a CPU it learns most per minute.", {"quick": 150.0, "standard": 900.0, "paper": 9e4}),
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
    assert window.actions_.recent.actions()[0].text() == "ready.pth"
    window.actions_.recent.actions()[0].trigger()
    assert [job.file for job in stand_in.jobs if isinstance(job, InspectJob)] == [chooser.answer] * 2
    assert settings.recent_files == [chooser.answer]
    chooser.answer = ""
    window.actions_.open.trigger()
    assert len(stand_in.jobs) == 2


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


def test_an_export_that_fails_leaves_the_old_file_and_says_why(
    window: MainWindow, stand_in: StandInEngine, chooser: AnsweredChooser, tmp_path: Path
) -> None:
    make_ready(window, stand_in)
    window.distill()
    stand_in.say(AuditFinished(str(tmp_path / "gone"), {}))
    old = tmp_path / "old.onnx"
    old.write_bytes(b"old")
    chooser.answer = str(old)
    window.handover.export_onnx()
    assert old.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.glob("*old*")) == ["old.onnx"]
    assert window.banner.isVisible()
    assert "could not be saved" in window.banner.text
    assert "What to do" in window.banner.text


def test_questions_are_asked_in_place_with_guess_and_reason(
    window: MainWindow, stand_in: StandInEngine, qtbot: QtBot
) -> None:
    window.open_file("asks.pth")
    stand_in.say(TeacherInspected(card("asks.pth", TeacherFacts(), asks=True)), InspectionFinished())
    form = window.setup.teacher.questions
    assert form.isVisible()
    assert form.field("num_classes").text() == "10"
    assert "The last layer has 10 outputs." in shown_texts(window)
    assert not window.setup.distill.isEnabled()
    form.field("input_size").set_text("huge")
    qtbot.mouseClick(form.confirm, Qt.MouseButton.LeftButton)
    assert "is not a size" in shown_texts(window)
    assert len(stand_in.jobs) == 1
    form.field("input_size").set_text("32x32")
    qtbot.mouseClick(form.confirm, Qt.MouseButton.LeftButton)
    job = stand_in.jobs[-1]
    assert isinstance(job, InspectJob)
    assert job.facts == TeacherFacts(num_classes=10, input_size=(32, 32))
    stand_in.say(TeacherInspected(card("asks.pth", job.facts, asks=True)), InspectionFinished())
    assert not form.isVisible()
    assert window.setup.distill.isEnabled()


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


def test_the_command_repeats_the_plan(window: MainWindow, stand_in: StandInEngine, tmp_path: Path) -> None:
    make_ready(window, stand_in, str(tmp_path / "my teacher.pth"))
    window.setup.evaluation.add_trigger.menu().actions()[0].trigger()
    window.setup.evaluation.target.setValue(2)
    window.setup.plan.compare.setChecked(True)
    window.setup.plan.copy_command.click()
    words = shlex.split(QGuiApplication.clipboard().text())
    assert words[:3] == ["abd-app", "distill", str(tmp_path / "my teacher.pth")]
    assert "--compare" in words
    assert words[words.index("--target") + 1] == "2"
    assert words[words.index("--trigger") + 1] == "badnets-grid"


def test_choices_reach_the_plan(
    window: MainWindow, stand_in: StandInEngine, chooser: AnsweredChooser, tmp_path: Path
) -> None:
    make_ready(window, stand_in)
    stand_in.say(DevicesListed((("cuda", "RTX", 2**33), ("cpu", "CPU", 2**34))), job=0)
    panel, evaluation = window.setup.plan, window.setup.evaluation
    for box, value in ((panel.method, "zskt"), (panel.student, "wrn-16-2"), (panel.device, "cuda")):
        box.setCurrentIndex(box.findData(value))
        box.activated.emit(box.currentIndex())
    panel.advanced.seed.setValue(7)
    panel.budget.effort.setCurrentIndex(panel.budget.effort.findData("custom"))
    panel.budget.effort.activated.emit(0)
    panel.budget.amount.setValue(12.5)
    chooser.answer = str(tmp_path / "logo.png")
    evaluation.add_trigger.menu().actions()[-1].trigger()
    evaluation.choose_data(str(tmp_path))
    plan = window.draft.plan("t.pth", TeacherFacts())
    assert (plan.method, plan.student, plan.device, plan.seed, plan.minutes) == ("zskt", "wrn-16-2", "cuda", 7, 12.5)
    assert (plan.data, plan.triggers[0].name) == (str(tmp_path), str(tmp_path / "logo.png"))
    assert "GiB free" in panel.device.itemText(1)


def test_a_plan_that_cannot_be_is_explained(window: MainWindow, stand_in: StandInEngine, tmp_path: Path) -> None:
    make_ready(window, stand_in)
    window.draft.choose(out=str(tmp_path))
    (tmp_path / "mine.txt").write_text("mine")
    window.distill()
    assert "not empty" in window.banner.text
    assert len(stand_in.jobs) == 1


def test_closing_while_a_run_is_on_asks(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    window.distill()
    window.close()
    assert window.isVisible()
    window.banner.buttons()["Stay"].click()
    assert not window.banner.isVisible()
    window.close()
    window.banner.buttons()["Stop, keep and close"].click()
    assert stand_in.commands == ["stop"]
    assert window.isVisible()
    stand_in.say(AuditFinished("out", {}))
    assert not window.isVisible()


def test_cancel_asks_in_place(window: MainWindow, stand_in: StandInEngine, qtbot: QtBot) -> None:
    make_ready(window, stand_in)
    window.distill()
    bar = window.run_bar
    qtbot.mouseClick(bar.cancel, Qt.MouseButton.LeftButton)
    assert stand_in.commands == []
    qtbot.mouseClick(bar.keep_running, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(bar.cancel, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(bar.discard, Qt.MouseButton.LeftButton)
    assert stand_in.commands == ["cancel"]
    stand_in.say(AuditFailed("", "", "", "", 4))


def test_space_pauses_but_does_not_take_space_from_buttons(
    window: MainWindow, stand_in: StandInEngine, qtbot: QtBot
) -> None:
    make_ready(window, stand_in)
    window.distill()
    qtbot.keyClick(window.live, Qt.Key.Key_Space)
    assert stand_in.commands == ["pause"]
    qtbot.keyClick(window.run_bar.cancel, Qt.Key.Key_Space)
    assert stand_in.commands == ["pause"]
    assert window.run_bar.discard.isVisible()
    stand_in.say(AuditFailed("", "", "", "", 4))


def test_the_keyboard_reaches_every_control_and_each_has_a_name(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    window.setup.plan.fold.heading.setChecked(True)
    for kind in (QAbstractButton, QComboBox, QLineEdit):
        for control in window.findChildren(kind):
            if control.isVisible() and control.isEnabled() and not control.objectName().startswith("qt_"):
                assert control.focusPolicy() & Qt.FocusPolicy.TabFocus, control
                text = control.text() if isinstance(control, QAbstractButton) else ""
                assert control.accessibleName() or text or isinstance(control, QLineEdit), control


def test_geometry_theme_and_text_size_come_back(
    make_window: MakeWindow, settings: Settings, stand_in: StandInEngine, theme: Theme
) -> None:
    window = make_window(stand_in)
    window.centralWidget().findChild(QSplitter).setSizes([430, 580])
    window.actions_.settings.trigger()
    from abd_app.gui.dialogs import SettingsDialog

    dialog = window.findChild(SettingsDialog)
    assert dialog is not None
    assert not dialog.isModal()
    before = theme.name, theme.scale
    dialog.theme_box.setCurrentIndex(dialog.theme_box.findData("dark"))
    dialog.theme_box.activated.emit(0)
    dialog.scale_box.setCurrentIndex(dialog.scale_box.findData("1.15"))
    dialog.scale_box.activated.emit(0)
    assert theme.dark
    dialog.close()
    window.close()
    again = Settings(Path(settings._store.fileName()))
    assert (again.theme, again.font_scale) == ("dark", 1.15)
    columns = make_window(StandInEngine()).centralWidget().findChild(QSplitter)
    assert columns.sizes()[0] == 430
    theme.choose(*before)


def test_curves_are_saved_as_picture_drawing_and_table(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path
) -> None:
    make_ready(window, stand_in)
    window.distill()
    for number in (1, 2, 3):
        stand_in.say(Measured("student", number, 0.3 * number, 100, {"sig": 0.1}, {"sig": 90}))
    stand_in.say(AuditFinished("out", {}))
    for kind, start in (("png", b"\x89PNG"), ("svg", b"<?xml"), ("csv", b"role,quantity,step,value")):
        window.live.save(tmp_path / f"curves.{kind}", kind)
        assert (tmp_path / f"curves.{kind}").read_bytes().startswith(start)
    window.live.save(tmp_path / "no such folder" / "curves.png", "png")
    assert "curves could not be saved" in window.banner.text


@pytest.mark.parametrize("option", ["smooth", "last_part", "logarithmic"])
def test_the_curves_can_be_drawn_otherwise_and_read_by_pointing(
    window: MainWindow, stand_in: StandInEngine, option: str
) -> None:
    make_ready(window, stand_in)
    window.distill()
    for number in range(100):
        stand_in.say(Measured("student", number, 0.5, 100, {"sig": 0.0, "blend": 0.25}, {"sig": 90, "blend": 90}))
    stand_in.say(AuditFinished("out", {}))
    curves = window.live.curves
    before = curves.canvas.grab().toImage()
    getattr(curves, option).setChecked(True)
    assert curves.canvas.grab().toImage() != before or option == "smooth"
    text = curves.values_at(50)
    assert "Step 50" in text
    assert "accuracy 50.0 %" in text
    assert "ASR blend 25.0 %" in text


def test_a_plan_can_be_shown_again(window: MainWindow) -> None:
    plan = AuditPlan("", "", method="ood", steps=500, seed=3, data="x.npz", compare=True, target_class=1, defense="sv")
    window.draft.replace(plan)
    panel = window.setup.plan
    assert (panel.method.value, panel.budget.unit.value, panel.budget.amount.value()) == ("ood", "steps", 500)
    assert (panel.advanced.defense.value, panel.advanced.seed.value(), panel.compare.isChecked()) == ("sv", 3, True)
    assert window.draft.plan("", TeacherFacts()).steps == 500

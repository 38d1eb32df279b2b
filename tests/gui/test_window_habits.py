from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QGuiApplication, QKeyEvent
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLineEdit, QSplitter
from pytestqt.qtbot import QtBot

from abd_app.events import AuditFailed, AuditFinished, DevicesListed, Measured, PhaseStarted, StepDone
from abd_app.gui.look.theme import Theme
from abd_app.gui.main_window import MainWindow
from abd_app.gui.settings import Settings
from abd_app.plan import AuditPlan, TeacherFacts
from abd_app.worker.messages import PauseChanged
from tests.gui.conftest import AnsweredChooser, MakeWindow, StandInEngine
from tests.gui.test_window import make_ready


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


def test_a_purified_teacher_has_no_twin_and_no_budget(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    panel = window.setup.plan
    panel.compare.setChecked(True)
    panel.budget.effort.setCurrentIndex(panel.budget.effort.findData("custom"))
    panel.budget.effort.activated.emit(0)
    for student, chosen in (("purified", False), ("wrn-16-1", True)):
        panel.student.setCurrentIndex(panel.student.findData(student))
        panel.student.activated.emit(panel.student.currentIndex())
        plan = window.draft.plan("t.pth", TeacherFacts())
        assert (plan.student, plan.compare, plan.minutes) == (student, False, None)
        assert panel.compare.isEnabled() == panel.budget.isEnabled() == chosen
        assert not panel.compare.isChecked() and panel.budget.effort.value == "auto"
    assert "purify" in panel.student.itemText(panel.student.findData("purified"))


@pytest.mark.parametrize(("height", "scrolls"), [(500, True), (2400, False)])
def test_the_start_button_is_as_wide_as_the_cards(
    window: MainWindow, stand_in: StandInEngine, height: int, scrolls: bool
) -> None:
    make_ready(window, stand_in)
    window.setMinimumSize(0, 0)
    window.resize(1280, height)
    window.show()
    QGuiApplication.processEvents()
    assert bool(window.setup.scroll_area.verticalScrollBar().maximum()) == scrolls
    assert window.setup.distill.width() == window.setup.teacher.width()


def test_a_plan_that_cannot_be_is_explained(window: MainWindow, stand_in: StandInEngine, tmp_path: Path) -> None:
    make_ready(window, stand_in)
    window.draft.choose(out=str(tmp_path))
    (tmp_path / "mine.txt").write_text("mine")
    window.distill()
    assert "not empty" in window.banner.text
    assert len(stand_in.jobs) == 1


def test_a_teacher_that_is_being_purified_cannot_be_stopped_and_kept(
    window: MainWindow, stand_in: StandInEngine
) -> None:
    make_ready(window, stand_in)
    for student, can_be in (("auto", True), ("purified", False)):
        window.draft.choose(student=student, compare=False, steps=None)
        window.distill()
        assert window.run_bar.stop.isEnabled() == window.actions_.stop.isEnabled() == can_be
        assert ("only at the end" in window.run_bar.stop.toolTip()) != can_be
        assert window.run_bar.pause.isEnabled() and window.actions_.pause.isEnabled()
        window.close()
        assert ("Stop, keep and close" in window.banner.buttons()) == can_be
        window.session.stop_and_keep()
        assert stand_in.commands.count("stop") == 1
        stand_in.say(AuditFinished("out", {}))


def test_a_stop_before_the_first_step_says_what_it_waits_for(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    window.distill()
    stand_in.say(PhaseStarted("self-retrospection", "student", 0), StepDone("student", 0, 100, 0.0))
    window.run_bar.stop.click()
    assert window.run_bar.phase.text() == "Finishing after the first step"
    stand_in.say(StepDone("student", 1, 100, 0.01), PhaseStarted("measuring", "student", 1))
    window.run_bar.refresh()
    assert window.run_bar.phase.text() == "Finishing with what there is"
    stand_in.say(PhaseStarted("export", "student", 1))
    window.run_bar.refresh()
    assert window.run_bar.phase.text() == "Finishing with what there is"
    stand_in.say(AuditFinished("out", {}))


def test_slow_steps_are_told_by_their_time(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    now_s = 0.0
    window.run_bar._time = lambda: now_s
    window.distill()
    for number in (1, 2, 3):
        now_s += 30.0
        stand_in.say(StepDone("student", number, 63, number / 63))
    assert window.run_bar._run_facts().endswith("about 30 min left  ·  30 s a step")
    stand_in.say(AuditFinished("out", {}))


def test_cancel_asks_in_place(window: MainWindow, stand_in: StandInEngine, qtbot: QtBot) -> None:
    make_ready(window, stand_in)
    window.distill()
    bar = window.run_bar
    qtbot.mouseClick(bar.cancel, Qt.MouseButton.LeftButton)
    assert stand_in.commands == []
    qtbot.mouseClick(bar.keep_running, Qt.MouseButton.LeftButton)
    qtbot.mouseClick(bar.cancel, Qt.MouseButton.LeftButton)
    stand_in.say(PauseChanged(True))  # asked for before, and late
    assert bar.discard.isVisible()
    qtbot.mouseClick(bar.discard, Qt.MouseButton.LeftButton)
    assert stand_in.commands == ["cancel"]
    stand_in.say(AuditFailed("", "", "", "", 4))


def test_a_question_that_is_not_asked_takes_no_room_from_what_is_told_of_the_run(
    window: MainWindow, stand_in: StandInEngine
) -> None:
    """That of a run that goes on is long."""
    widths = []
    for resume in (False, True):
        make_ready(window, stand_in)
        window.draft.choose(out="out" if resume else "", resume=resume)
        window.distill()
        stand_in.say(StepDone("student", 1, 63, 1 / 63))
        QGuiApplication.processEvents()
        widths.append(window.run_bar.facts.width())
        stand_in.say(AuditFinished("out", {}))
    assert widths[0] == widths[1]


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


def test_a_space_that_is_held_pauses_once(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    window.distill()
    for repeated in (False, True, True):
        pressed = QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Space, Qt.KeyboardModifier.NoModifier, " ", repeated)
        QGuiApplication.sendEvent(window, pressed)
        stand_in.say(PauseChanged(paused=stand_in.commands[-1] == "pause"))
    assert stand_in.commands == ["pause"]
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

"""What the file does not say is asked in place, and can be put right there."""

from __future__ import annotations

from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from abd_app.events import AuditFailed, TeacherInspected
from abd_app.gui.main_window import MainWindow
from abd_app.gui.states import State
from abd_app.plan import TeacherFacts
from abd_app.worker.messages import InspectionFinished, InspectJob
from tests.gui.conftest import StandInEngine
from tests.gui.fake_runner import card
from tests.gui.test_window import shown_texts


def test_questions_are_asked_in_place_with_guess_and_reason(
    window: MainWindow, stand_in: StandInEngine, qtbot: QtBot
) -> None:
    window.open_file("asks.pth")
    stand_in.say(TeacherInspected(card("asks.pth", TeacherFacts(), asks=True)), InspectionFinished())
    form = window.setup.teacher.questions
    assert form.isVisible()
    assert form.field("architecture").text() == "wrn-16-2"
    assert "Nearest: wrn-16-2." in shown_texts(window)
    assert not window.setup.distill.isEnabled()
    form.field("input_size").set_text("huge")
    qtbot.mouseClick(form.confirm, Qt.MouseButton.LeftButton)
    assert "is not a size" in shown_texts(window)
    assert len(stand_in.jobs) == 1
    form.field("input_size").set_text("32x32")
    qtbot.mouseClick(form.confirm, Qt.MouseButton.LeftButton)
    job = stand_in.jobs[-1]
    assert isinstance(job, InspectJob)
    assert job.facts == TeacherFacts(architecture="wrn-16-2", input_size=(32, 32))
    stand_in.say(TeacherInspected(card("asks.pth", job.facts, asks=True)), InspectionFinished())
    assert not form.isVisible()
    assert window.setup.distill.isEnabled()


def test_answers_that_cannot_be_are_put_right_where_they_were_given(
    window: MainWindow, stand_in: StandInEngine, qtbot: QtBot
) -> None:
    window.open_file("asks.pth")
    stand_in.say(TeacherInspected(card("asks.pth", TeacherFacts(), asks=True)), InspectionFinished())
    form = window.setup.teacher.questions
    form.field("input_size").set_text("32x32")
    qtbot.mouseClick(form.confirm, Qt.MouseButton.LeftButton)
    assert window.session.state is State.INSPECTING
    stand_in.say(AuditFailed("The weights say otherwise.", "--size", "Of course.", "Leave --size out.", 2))
    assert window.session.state is State.ASKING and not window.banner.isVisible()
    assert form.isVisible() and form.isEnabled() and form.field("input_size").text() == "32x32"
    assert "The weights say otherwise. Of course. Leave “Teacher, image size” out." in shown_texts(window)
    form.field("input_size").set_text("16x16")
    qtbot.mouseClick(form.confirm, Qt.MouseButton.LeftButton)
    assert "say otherwise" not in shown_texts(window)
    job = stand_in.jobs[-1]
    assert isinstance(job, InspectJob) and job.facts.input_size == (16, 16)
    stand_in.say(TeacherInspected(card("asks.pth", job.facts, asks=True)), InspectionFinished())
    assert window.session.can_start

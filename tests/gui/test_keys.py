"""What the keyboard does where something is asked, and the order in which Tab goes from place to place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from abd_app.events import AuditFinished, Measured
from abd_app.gui.main_window import MainWindow
from tests.gui.conftest import StandInEngine
from tests.gui.sessions import inspected
from tests.gui.test_window import make_ready

_PLACES: dict[str, Callable[[MainWindow], QWidget]] = {
    "where it is put": lambda window: window.focusWidget(),
    "curves": lambda window: window.live.curves.canvas,
    "log": lambda window: window.live.log,
    "tabs": lambda window: window.live,
}


@pytest.fixture
def running(window: MainWindow, stand_in: StandInEngine) -> MainWindow:
    make_ready(window, stand_in)
    window.activateWindow()
    window.distill()
    stand_in.say(Measured("student", 1, 0.9, 100, {}, {}))
    window.live.curves.refresh()
    QApplication.processEvents()
    return window


@pytest.mark.parametrize("place", _PLACES)
def test_escape_keeps_a_run_that_might_be_discarded(
    running: MainWindow, stand_in: StandInEngine, qtbot: QtBot, place: str
) -> None:
    running.run_bar.ask_to_cancel()
    QApplication.processEvents()
    assert running.run_bar.keep_running.hasFocus()
    qtbot.keyClick(_PLACES[place](running), Qt.Key.Key_Escape)
    assert not running.run_bar.discard.isVisible() and running.run_bar.cancel.isVisible()
    assert running.live.hasFocus() and stand_in.commands == []
    stand_in.say(AuditFinished("out", {}))


@pytest.mark.parametrize("place", _PLACES)
def test_escape_keeps_a_window_that_was_to_close(
    running: MainWindow, stand_in: StandInEngine, qtbot: QtBot, place: str
) -> None:
    running.close()
    QApplication.processEvents()
    assert running.banner.buttons()["Stay"].hasFocus()
    qtbot.keyClick(_PLACES[place](running), Qt.Key.Key_Escape)
    assert not running.banner.isVisible() and running.isVisible() and stand_in.commands == []
    assert running.live.hasFocus()
    running.banner.show_message("good", "Saved")
    qtbot.keyClick(running, Qt.Key.Key_Escape)
    assert running.banner.isVisible(), "that asks nothing"
    stand_in.say(AuditFinished("out", {}))


@pytest.mark.parametrize("asks", [False, True])
def test_tab_goes_down_the_card_of_the_teacher(
    window: MainWindow, stand_in: StandInEngine, qtbot: QtBot, asks: bool
) -> None:
    for file in ("first.pth", "second.pth"):
        window.open_file(file)
        stand_in.say(*inspected(asks=asks))
    window.activateWindow()
    QApplication.processEvents()
    panel = window.setup.teacher
    panel.change.setFocus()
    reached = [window.focusWidget()]
    while panel.isAncestorOf(reached[-1]) and len(reached) < 9:
        qtbot.keyClick(reached[-1], Qt.Key.Key_Tab)
        reached.append(window.focusWidget())
    asked = [*panel.questions.lines, panel.questions.confirm] if asks else []
    assert len(asked) == (3 if asks else 0)
    assert reached[:-1] == [panel.change, *asked, panel._facts.copy]
    assert window.setup.evaluation.isAncestorOf(reached[-1])

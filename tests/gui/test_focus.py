"""Where the keyboard is can be seen."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PySide6.QtGui import QColor, QImage
from PySide6.QtWidgets import QApplication, QCheckBox, QWidget
from pytestqt.qtbot import QtBot

from abd_app.events import AuditFinished, Measured
from abd_app.gui.look.theme import Theme, ThemeName
from abd_app.gui.main_window import MainWindow
from tests.gui.conftest import StandInEngine
from tests.gui.test_window import make_ready


def _drop_zone(window: MainWindow, _: StandInEngine) -> QWidget:
    return window.setup.teacher.drop_zone


def _chip(window: MainWindow, stand_in: StandInEngine) -> QWidget:
    make_ready(window, stand_in)
    window.distill()
    stand_in.say(*(Measured("student", step, 0.9, 100, {"sig": 0.1}, {"sig": 90}) for step in (1, 2)))
    stand_in.say(AuditFinished("out", {}))
    return next(iter(window.live.curves.legend._chips.values()))


def _picture(widget: QWidget) -> QImage:
    return widget.grab().toImage()


@pytest.mark.parametrize("name", ["light", "dark"])
@pytest.mark.parametrize("place", [_drop_zone, _chip])
def test_what_has_the_focus_looks_otherwise(
    window: MainWindow,
    stand_in: StandInEngine,
    theme: Theme,
    place: Callable[[MainWindow, StandInEngine], QWidget],
    name: ThemeName,
) -> None:
    before = theme.name, theme.scale
    theme.choose(name, 1.0)
    widget = place(window, stand_in)
    QApplication.processEvents()
    window.setFocus()
    calm = _picture(widget)
    widget.setFocus()
    assert widget.hasFocus()
    assert _picture(widget) != calm
    assert _picture(widget).size() == calm.size()
    theme.choose(*before)


def test_a_box_that_is_checked_has_a_frame_where_the_focus_is(theme: Theme, qtbot: QtBot) -> None:
    box = QCheckBox()
    box.setChecked(True)
    qtbot.addWidget(box)
    box.show()
    box.activateWindow()
    box.setFocus()
    QApplication.processEvents()
    assert box.hasFocus()
    frame = QColor(theme.colours.text)
    picture = _picture(box)
    assert any(picture.pixelColor(x, picture.height() // 2) == frame for x in range(4))

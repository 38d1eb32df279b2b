"""Where the plots of accuracy and ASR are: each is to be seen, however low or wide the window is."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from abd_app.gui.live import plotting
from abd_app.gui.live.curves import ACCURACY, CurveKey
from abd_app.gui.live.rate_plots import RatePlots
from abd_app.gui.look.theme import Theme


@pytest.fixture
def shown(theme: Theme, qtbot: QtBot) -> Iterator[RatePlots]:
    view = QWidget()
    qtbot.addWidget(view)
    plots = RatePlots(theme, "rates", view)
    QVBoxLayout(view).addWidget(plots.canvas)
    steps, rates = np.array([0.0, 50.0, 100.0]), np.array([0.1, 0.5, 0.9])
    for trigger in (ACCURACY, "sticker"):
        plots.draw(CurveKey("student", trigger), steps, rates, plotting.role_pen("student", theme.colours))
    plots.show_axes("Accuracy", [4 * "a long name "], (0, 100))
    view.show()
    _resize(plots, 640, 500)
    yield plots


def _resize(plots: RatePlots, width_px: int, height_px: int) -> None:
    plots.canvas.window().resize(width_px, height_px)
    QApplication.processEvents()


def _numbered(plots: RatePlots) -> list[bool]:
    return [plot.getAxis("bottom").style["showValues"] for plot in plots.plots]


def test_plots_that_would_be_flat_are_beside_each_other_until_there_is_room(shown: RatePlots) -> None:
    for width_px, height_px, beside in (
        (640, 500, False),
        (640, 240, True),
        (490, 200, True),
        (400, 240, False),
        (640, 500, False),
    ):
        _resize(shown, width_px, height_px)
        accuracy, asr = (plot.geometry() for plot in shown.plots)
        assert (accuracy.top() == asr.top(), accuracy.left() == asr.left()) == (beside, not beside)
        assert accuracy.width() == pytest.approx(asr.width(), abs=1), "alike, whatever the titles are"
        assert asr.right() <= width_px and asr.bottom() <= height_px
        assert _numbered(shown) == [beside, True]


def test_the_pointer_reads_the_steps_of_the_plot_that_it_is_over(shown: RatePlots) -> None:
    _resize(shown, 640, 240)
    read: list[float | None] = []
    shown.hovered.connect(read.append)
    for plot in shown.plots:
        box = plot.getViewBox()
        shown.canvas.scene().sigMouseMoved.emit(box.mapViewToScene(box.viewRect().center()))
    assert read == [pytest.approx(50, abs=1)] * 2


def test_accuracy_alone_has_all_the_room(shown: RatePlots) -> None:
    _resize(shown, 640, 240)
    shown.show_axes("Accuracy", [], (0, 100))
    QApplication.processEvents()
    assert shown.plots[0].geometry().width() > 550 and _numbered(shown)[0]
    shown.show_axes("Accuracy", ["sticker"], (0, 100))
    QApplication.processEvents()
    assert shown.plots[1].geometry().left() > 300


def test_plots_beside_each_other_are_never_flat(shown: RatePlots) -> None:
    _resize(shown, 490, 10)
    heights = [plot.getViewBox().height() for plot in shown.plots]
    assert heights[0] == heights[1] >= 100


def test_where_a_title_has_no_room_a_short_one_names_the_trigger(shown: RatePlots) -> None:
    shown.show_axes("Accuracy", ["sticker"], (0, 100))
    for height_px, title in ((500, "Attack success rate (ASR): sticker"), (240, "ASR: sticker")):
        _resize(shown, 500, height_px)
        assert shown.plots[1].titleLabel.text == title


def test_steps_are_numbered_as_whole_ones(shown: RatePlots) -> None:
    axis = shown.plots[1].getAxis("bottom")
    for most, numbers in ((1, {0, 1}), (3, {0, 1, 2, 3})):
        found = {number for _, level in axis.tickValues(0, most, 500) for number in level}
        assert found <= numbers and len(found) > 1

"""The legend above the curves: a long name makes the page no wider."""

from __future__ import annotations

from PySide6.QtWidgets import QApplication, QScrollArea
from pytestqt.qtbot import QtBot

from abd_app.events import AuditFailed, AuditFinished, Measured
from abd_app.gui.live import plotting
from abd_app.gui.live.legend import Legend
from abd_app.gui.look.theme import Theme
from abd_app.gui.main_window import MainWindow
from tests.gui.conftest import StandInEngine
from tests.gui.test_window import make_ready


def test_of_a_long_name_the_middle_is_left_out_and_the_tooltip_has_the_whole(theme: Theme, qtbot: QtBot) -> None:
    legend = Legend()
    qtbot.addWidget(legend)
    pen, long = plotting.role_pen("student", theme.colours), "a-picture-" + 90 * "x" + "-of-the-flower.png"
    legend.show_entries({"a": (long, pen), "b": ("R&D.png", pen)})
    chip, short = legend._chips["a"], legend._chips["b"]
    assert chip.text().startswith("a-picture-") and "…" in chip.text() and chip.text().endswith("flower.png")
    assert len(chip.text()) == 30 and legend.minimumSizeHint().width() < 400
    assert long in chip.toolTip() and long in chip.accessibleName()
    assert short.text() == "R&&D.png", "an ampersand of a name is shown, not obeyed"


def test_rows_of_the_legend_are_not_taken_from_the_plots(
    window: MainWindow, stand_in: StandInEngine, qapp: QApplication
) -> None:
    make_ready(window, stand_in)
    window.distill()
    window.resize(940, 620)
    heights = []
    for triggers in (1, 16):
        rates = {f"a-trigger-{number}": 0.1 for number in range(triggers)}
        stand_in.say(Measured("student", 1, 0.5, 100, rates, dict.fromkeys(rates, 90)))
        window.live.curves.refresh()
        for _ in range(3):
            qapp.processEvents()
        heights.append(window.live.minimumSizeHint().height())
        assert window.live.curves.canvas.height() >= window.live.curves.canvas.minimumHeight()
    legend = window.live.curves.legend
    assert legend.height() >= legend.layout().heightForWidth(legend.width()) > 60 and heights[1] > heights[0]
    stand_in.say(AuditFailed("", "", "", "", 4))


def test_a_page_with_room_for_all_of_it_is_not_scrolled(
    window: MainWindow, stand_in: StandInEngine, qapp: QApplication
) -> None:
    make_ready(window, stand_in)
    window.distill()
    window.resize(1024, 700)
    rates = {"badnets-grid": 0.1, "blend": 0.1, "sig": 0.1}
    for role in ("teacher", "twin", "student"):
        stand_in.say(Measured(role, 1, 0.5, 100, rates, dict.fromkeys(rates, 90)))
    model = {"accuracy": 0.5, "images": 100, "asr": rates, "asr_images": dict.fromkeys(rates, 90)}
    sentence = (
        "The student answers correctly on 96% of the test images; the worst trigger that was tried fools it on 1%."
    )
    stand_in.say(AuditFinished("out", {"summary": sentence, "teacher": model, "student": model, "twin": model}))
    for _ in range(5):
        qapp.processEvents()
    area = window.centre.currentWidget()
    assert isinstance(area, QScrollArea) and window.live.isVisible()
    assert area.verticalScrollBar().maximum() == 0

"""The legend above the curves: a long name makes the page no wider."""

from __future__ import annotations

from pytestqt.qtbot import QtBot

from abd_app.gui.live import plotting
from abd_app.gui.live.legend import Legend
from abd_app.gui.look.theme import Theme


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

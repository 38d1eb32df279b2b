"""The plots: axes that name their ends however low the plot is, and samples that do not touch the name beside them."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from abd_app.gui.live import plotting
from abd_app.gui.look.theme import Theme


@pytest.mark.parametrize("height_px", [140, 220, 700])
def test_an_axis_of_rates_names_zero_and_a_hundred_percent(theme: Theme, qtbot: QtBot, height_px: int) -> None:
    canvas = plotting.plot_canvas()
    qtbot.addWidget(canvas)
    plots = [plotting.add_plot(canvas, row, rates=True) for row in (0, 1)]
    plotting.recolour(canvas, plots, theme.colours)
    canvas.resize(500, height_px)
    canvas.show()
    QApplication.processEvents()
    image = QImage(10, 10, QImage.Format.Format_RGB32)
    painter = QPainter(image)
    for plot in plots:
        axis = plot.getAxis("left")
        painter.setFont(axis.style["tickFont"])
        _, _, texts = axis.generateDrawSpecs(painter)
        assert {"0 %", "100 %"} <= {text for _, _, text in texts}
        assert all(axis.boundingRect().contains(place) for place, _, _ in texts), "what is outside is not painted"
    painter.end()


def test_a_line_sample_leaves_room_before_the_name(theme: Theme) -> None:
    sample = plotting.line_sample(plotting.role_pen("student", theme.colours)).toImage()
    alphas = [max(sample.pixelColor(x, y).alpha() for y in range(sample.height())) for x in range(sample.width())]
    assert alphas[5] > 0 and alphas[-6:] == [0] * 6

"""The plots of the live view: pens and axes in the colours of the theme."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QPainter, QPen, QPixmap
from PySide6.QtWidgets import QApplication

from abd_app.gui.look.theme import TRIGGER_COLOURS, Colours

DASHES = {"teacher": Qt.PenStyle.DashLine, "student": Qt.PenStyle.SolidLine, "twin": Qt.PenStyle.DotLine}
RATE_RANGE = (-5, 118)
"""Percent; above 100 % the phases are named."""

SMALLEST_PERCENT = 0.1
"""Where a logarithmic axis ends: zero has no logarithm."""

_AXIS_WIDTH_PX, _TITLE_MARGIN_PX = 58, 12
SAMPLE_SIZE = QSize(35, 12)


class PercentAxis(pg.AxisItem):
    """A left axis that names its ends, however low the plot.

    pyqtgraph leaves a label out that reaches beyond the axis, and with a grid it does so whatever its style says.
    """

    def boundingRect(self) -> QRectF:
        margin = QFontMetricsF(self.style["tickFont"] or QApplication.font()).height() / 2
        return super().boundingRect().adjusted(0, -margin, 0, margin)


class StepAxis(pg.AxisItem):
    """A bottom axis that numbers whole steps, however few there are."""

    def tickSpacing(self, *span: float) -> list[tuple[float, float]]:
        return [(max(1.0, spacing), offset) for spacing, offset in super().tickSpacing(*span)]


def role_pen(role: str, colours: Colours, trigger_index: int | None = None) -> QPen:
    """The pen of a curve: dash by role; colour by role, or by trigger where there are several."""
    roles = {"teacher": colours.teacher, "student": colours.student, "twin": colours.twin}
    colour = roles[role] if trigger_index is None else TRIGGER_COLOURS[trigger_index % len(TRIGGER_COLOURS)]
    return _pen(colour, 1.6 if role == "teacher" else 2.2, DASHES[role])


def run_pen(second: bool, colours: Colours, trigger_index: int | None = None) -> QPen:
    """The pen of a student's curve where two runs are compared: the second is dashed; colours as of a role."""
    own = colours.twin if second else colours.student
    colour = own if trigger_index is None else TRIGGER_COLOURS[trigger_index % len(TRIGGER_COLOURS)]
    return _pen(colour, 2.2, Qt.PenStyle.DashLine if second else Qt.PenStyle.SolidLine)


def _pen(colour: str, width: float, dash: Qt.PenStyle) -> QPen:
    pen = QPen(QColor(colour), width, dash)
    pen.setCosmetic(True)
    return pen


def line_sample(pen: QPen) -> QPixmap:
    """A piece of line for a legend, with some room between it and the name that follows."""
    pixmap = QPixmap(SAMPLE_SIZE)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(pen)
    painter.drawLine(1, 6, 27, 6)
    painter.end()
    return pixmap


def plot_canvas() -> Any:
    """An empty canvas for plots, without pyqtgraph's own menu and mouse wheel."""
    canvas = pg.GraphicsLayoutWidget()
    canvas.setAntialiasing(True)
    canvas.setFrameShape(canvas.Shape.NoFrame)
    canvas.ci.layout.setContentsMargins(4, 4, 12, 4)
    canvas.ci.layout.setVerticalSpacing(6)
    return canvas


def add_plot(canvas: Any, row: int, *, rates: bool) -> Any:
    """A plot with quiet axes; ``rates`` fixes y to 0 to 100 %."""
    left = {"left": PercentAxis("left")} if rates else {}
    plot = canvas.addPlot(row=row, col=0, axisItems={"bottom": StepAxis("bottom"), **left})
    plot.hideButtons()
    plot.setMenuEnabled(False)
    plot.setMouseEnabled(x=False, y=False)
    plot.getAxis("left").setWidth(_AXIS_WIDTH_PX)
    plot.getAxis("bottom").setStyle(maxTickLevel=0)
    plot.getAxis("bottom").enableAutoSIPrefix(False)  # steps are counted in steps
    plot.showGrid(x=False, y=True, alpha=0.18)
    plot.setClipToView(False)
    if rates:
        scale_rates(plot, logarithmic=False)
    return plot


def scale_rates(plot: Any, *, logarithmic: bool) -> None:
    """Sets the y axis for rates in percent, or for their decimal logarithms."""
    if logarithmic:
        plot.setYRange(-1.1, 2.4, padding=0)
        plot.getAxis("left").setTicks([[(math.log10(value), f"{value} %") for value in (SMALLEST_PERCENT, 1, 10, 100)]])
    else:
        plot.setYRange(*RATE_RANGE, padding=0)
        ticks = [[(value, f"{value} %") for value in values] for values in ((0, 50, 100), (25, 75))]
        plot.getAxis("left").setTicks(ticks)


def recolour(canvas: Any, plots: list[Any], colours: Colours) -> None:
    """Gives a canvas and its plots the colours and the text size of the theme."""
    canvas.setBackground(QColor(colours.surface))
    font = QFont(QApplication.font())
    font.setPointSizeF(font.pointSizeF() * 0.9)
    for plot in plots:
        for name in ("left", "bottom"):
            axis = plot.getAxis(name)
            axis.setPen(QColor(colours.strong_border))
            axis.setTextPen(QColor(colours.muted))
            axis.setStyle(tickFont=font, tickLength=-4)


def set_title(plot: Any, forms: Sequence[str], colours: Colours, *, width_px: float) -> None:
    """A heading at the left above a plot that is so wide: the first form that fits, or the last without its middle."""
    font = QFont(QApplication.font())
    font.setBold(True)
    room_px = max(0, width_px - _AXIS_WIDTH_PX - _TITLE_MARGIN_PX)
    metrics = QFontMetricsF(font)
    text = next((form for form in forms if metrics.horizontalAdvance(form) <= room_px), forms[-1])
    text = metrics.elidedText(text, Qt.TextElideMode.ElideMiddle, room_px)
    points = font.pointSizeF()
    plot.setTitle(text, color=colours.text, size=f"{points:.1f}pt", justify="left", bold=True)

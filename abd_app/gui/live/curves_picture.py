"""The curves as the content of a file: of one size whatever the window's, with a legend and whole titles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import QBuffer, QByteArray, QCoreApplication, QPoint, QPointF, QRect, QSize
from PySide6.QtGui import QColor, QFontMetricsF, QImage, QImageWriter, QPainter, QPen
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QApplication

from abd_app.errors import RunFailedError
from abd_app.gui.look.theme import Colours
from abd_app.text import visible

_SIZE, _FINE = QSize(1200, 800), 2
_MARGIN_PX, _SAMPLE_PX, _GAP_PX, _BETWEEN_PX = 16, 27, 8, 28
Entries = Sequence[tuple[str, QPen]]
"""Of a legend: names and their lines."""


def curves_picture(canvas: Any, entries: Entries, colours: Colours, kind: str) -> bytes:
    """A canvas that is nowhere on the screen, as ``png``, twice as fine as it would be there, or ``svg``.

    Raises:
        RunFailedError: It could not be drawn.
    """
    legend = _Legend(entries, colours)
    for row in range(2):
        canvas.ci.layout.setRowStretchFactor(row, 1)
    canvas.resize(_SIZE.width(), _SIZE.height() - legend.height_px)
    for _ in range(2):  # axes say how much room they need when they are drawn
        canvas.grab()
    content = QBuffer()
    content.open(QBuffer.OpenModeFlag.WriteOnly)
    if not (_draw_svg if kind == "svg" else _draw_png)(canvas, legend, content):
        what = QCoreApplication.translate("curves_picture", "The curves could not be drawn as {kind}.")
        remedy = QCoreApplication.translate("curves_picture", "Save them in another format.")
        raise RunFailedError(what.format(kind=kind.upper()), remedy=remedy)
    return bytes(content.data().data())


class _Legend:
    """Names beside samples of their lines, in as many rows as they need."""

    def __init__(self, entries: Entries, colours: Colours) -> None:
        self._colour, self._places = QColor(colours.text), list[tuple[QPointF, str, QPen]]()
        metrics = QFontMetricsF(QApplication.font())
        row_px, x, y = metrics.height() + _GAP_PX, float(_MARGIN_PX), _MARGIN_PX + metrics.ascent()
        for name, pen in entries:
            width_px = _SAMPLE_PX + _GAP_PX + metrics.horizontalAdvance(visible(name))
            if x > _MARGIN_PX and x + width_px > _SIZE.width() - _MARGIN_PX:
                x, y = _MARGIN_PX, y + row_px
            self._places.append((QPointF(x, y), visible(name), pen))
            x += width_px + _BETWEEN_PX
        self._middle_px = metrics.xHeight() / 2
        self.height_px = round(y + metrics.descent()) + _GAP_PX

    def draw(self, painter: QPainter, line_scale: int) -> None:
        """Draws it at the top."""
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(QApplication.font())
        for place, name, pen in self._places:
            start = place - QPointF(0, self._middle_px)
            painter.setPen(_wider(pen, line_scale))
            painter.drawLine(start, start + QPointF(_SAMPLE_PX, 0))
            painter.setPen(self._colour)
            painter.drawText(place + QPointF(_SAMPLE_PX + _GAP_PX, 0), name)


def _draw_svg(canvas: Any, legend: _Legend, content: QBuffer) -> bool:
    drawing = QSvgGenerator()
    drawing.setOutputDevice(content)
    drawing.setResolution(canvas.logicalDpiX())  # axes are drawn for the screen, and would be scaled to another one
    drawing.setSize(_SIZE)
    drawing.setViewBox(QRect(QPoint(0, 0), _SIZE))
    return _draw(canvas, legend, QPainter(drawing))


def _draw_png(canvas: Any, legend: _Legend, content: QBuffer) -> bool:
    picture = QImage(_SIZE * _FINE, QImage.Format.Format_RGB32)
    picture.setDevicePixelRatio(_FINE)
    return _draw(canvas, legend, QPainter(picture), _FINE) and QImageWriter(content, QByteArray(b"png")).write(picture)


def _draw(canvas: Any, legend: _Legend, painter: QPainter, line_scale: int = 1) -> bool:
    """Lines are as many pixels wide as their pens say, however fine the pixels are."""
    if not painter.isActive():
        return False
    painter.fillRect(QRect(QPoint(0, 0), _SIZE), canvas.backgroundBrush())
    legend.draw(painter, line_scale)
    for item in canvas.scene().items():
        if isinstance(item, pg.PlotCurveItem):
            item.setPen(_wider(item.opts["pen"], line_scale))
    area = QRect(QPoint(0, 0), canvas.size())
    canvas.render(painter, area.translated(0, legend.height_px), area)
    return painter.end()


def _wider(pen: QPen, times: int) -> QPen:
    pen = QPen(pen)
    pen.setWidthF(pen.widthF() * times)
    return pen

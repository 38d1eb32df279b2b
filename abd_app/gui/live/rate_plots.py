"""Two plots of rates, one below the other, over the same steps: accuracy, and attack success rate."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QObject, QPointF, Signal
from PySide6.QtGui import QPen
from PySide6.QtWidgets import QWidget

from abd_app.gui.live import plotting
from abd_app.gui.live.curves import ACCURACY, Array, CurveKey
from abd_app.gui.look.theme import Theme


class RatePlots(QObject):
    """Draws lines by key, and says where the pointer is.

    Args:
        theme: The colours; a view that draws redraws its lines itself when they change.
        name: For screen readers.
        parent: The view that shows the canvas.

    Attributes:
        canvas: The widget to lay out.
        plots: Accuracy, and ASR below.
    """

    hovered = Signal(object)
    """The step below the pointer, a float; ``None``: it is elsewhere, or left of the first step."""

    def __init__(self, theme: Theme, name: str, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme, self._lines, self._logarithmic = theme, dict[CurveKey, Any](), False
        self.canvas = plotting.plot_canvas()
        self.canvas.setAccessibleName(name)
        self.plots = [plotting.add_plot(self.canvas, row, rates=True) for row in (0, 1)]
        self.plots[1].setXLink(self.plots[0])
        self.plots[0].getAxis("bottom").setStyle(showValues=False)
        self._cursors = [pg.InfiniteLine(angle=90, movable=False) for _ in self.plots]
        for plot, cursor in zip(self.plots, self._cursors, strict=True):
            cursor.hide()
            plot.addItem(cursor, ignoreBounds=True)
        self.canvas.scene().sigMouseMoved.connect(self._on_mouse_moved)
        theme.changed.connect(self._recolour)
        self._recolour()

    def clear(self) -> None:
        """Removes all lines."""
        for key, line in self._lines.items():
            self._plot_of(key).removeItem(line)
        self._lines = {}

    def show_axes(self, accuracy: str, asr: str, steps: tuple[float, float], *, logarithmic: bool = False) -> None:
        """Titles, the steps from and to, and the scale of ASR; an empty title of ASR hides its plot."""
        self._logarithmic = logarithmic
        for plot, title in zip(self.plots, (accuracy, asr), strict=True):
            plotting.set_title(plot, title, self._theme.colours)
        self.plots[1].setVisible(bool(asr))
        self.plots[0].getAxis("bottom").setStyle(showValues=not asr)
        plotting.scale_rates(self.plots[1], logarithmic=logarithmic)
        self.plots[0].setXRange(*steps, padding=0.01)

    def draw(self, key: CurveKey, steps: Array, rates: Array, pen: QPen) -> None:
        """Draws or moves a line of ``rates`` in [0, 1]."""
        line = self._lines.get(key)
        if line is None:
            line = self._lines[key] = pg.PlotCurveItem()
            self._plot_of(key).addItem(line)
        percent = 100 * rates
        if key.trigger != ACCURACY and self._logarithmic:
            percent = np.log10(np.maximum(percent, plotting.SMALLEST_PERCENT))
        line.setData(steps, percent, pen=pen)
        line.setVisible(True)

    def hide(self, key: CurveKey) -> None:
        """Hides a line, if it is there."""
        if (line := self._lines.get(key)) is not None:
            line.setVisible(False)

    def _plot_of(self, key: CurveKey) -> Any:
        return self.plots[key.trigger != ACCURACY]

    def _on_mouse_moved(self, position: QPointF) -> None:
        inside = bool(self._lines) and any(plot.sceneBoundingRect().contains(position) for plot in self.plots)
        step = self.plots[0].getViewBox().mapSceneToView(position).x()
        for cursor in self._cursors:
            cursor.setVisible(inside)
            cursor.setPos(step)
        self.hovered.emit(step if inside and step >= 0 else None)

    def _recolour(self) -> None:
        plotting.recolour(self.canvas, self.plots, self._theme.colours)
        for cursor in self._cursors:
            cursor.setPen(pg.mkPen(self._theme.colours.muted, width=1))

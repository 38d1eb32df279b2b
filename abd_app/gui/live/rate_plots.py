"""Two plots of rates over the same steps: accuracy, and attack success rate below or, where that is low, beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QObject, QPointF, Signal
from PySide6.QtGui import QFontMetrics, QPen
from PySide6.QtWidgets import QApplication, QWidget

from abd_app.command import trigger_label
from abd_app.gui.live import plotting
from abd_app.gui.live.curves import ACCURACY, Array, CurveKey
from abd_app.gui.look.theme import Theme

_LOW_PX, _WIDE_PX = 270, 440
_LEAST_PX, _LINES_BESIDE = 110, 4
"""Of a plot, and what title and numbers of steps take."""


class RatePlots(QObject):
    """Draws lines by key, and says where the pointer is.

    Args:
        theme: The colours; a view that draws redraws its lines itself when they change.
        name: For screen readers.
        parent: The view that shows the canvas.

    Attributes:
        canvas: The widget to lay out.
        plots: Accuracy, and ASR.
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
        self._beside, self._titles = False, ([""], [""])
        self.canvas.installEventFilter(self)
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

    def show_axes(
        self, accuracy: str, triggers: Sequence[str], steps: tuple[float, float], *, logarithmic: bool = False
    ) -> None:
        """The title of accuracy, the steps from and to, and the scale of ASR; without triggers it has no plot."""
        self._logarithmic, self._titles = logarithmic, ([accuracy], self._asr_titles(triggers))
        self.plots[1].setVisible(bool(triggers))
        self._arrange()
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

    def _asr_titles(self, triggers: Sequence[str]) -> list[str]:
        """In full and short; a single trigger is named."""
        one = f": {trigger_label(triggers[0])}" if len(triggers) == 1 else ""
        return [self.tr("Attack success rate (ASR)") + one, self.tr("ASR") + one]

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Lays the plots out anew when the canvas has another size."""
        if event.type() == QEvent.Type.Resize:
            self._arrange()
        return super().eventFilter(watched, event)

    def _arrange(self) -> None:
        """Below each other, or beside each other where that would be flat; columns are alike, whatever the titles."""
        low = self.canvas.height() < _LOW_PX and self.canvas.width() >= _WIDE_PX
        beside = low and self.plots[1].isVisible()
        if beside is not self._beside:
            self._beside = beside
            self.canvas.ci.removeItem(self.plots[1])
            self.canvas.ci.addItem(self.plots[1], 0 if beside else 1, 1 if beside else 0)
        # Steps are numbered once below plots that share them.
        self.plots[0].getAxis("bottom").setStyle(showValues=beside or not self.plots[1].isVisible())
        layout = self.canvas.ci.layout
        left, _, right, _ = layout.getContentsMargins()
        room_px = self.canvas.width() - left - right
        first_px = (room_px - layout.horizontalSpacing()) / 2 if beside else room_px
        layout.setColumnFixedWidth(0, max(0, first_px))
        layout.setColumnFixedWidth(1, first_px if beside else 0)
        for plot, forms in zip(self.plots, self._titles, strict=True):
            plotting.set_title(plot, forms, self._theme.colours, width_px=first_px)

    def _plot_of(self, key: CurveKey) -> Any:
        return self.plots[key.trigger != ACCURACY]

    def _on_mouse_moved(self, position: QPointF) -> None:
        shown = [plot for plot in self.plots if plot.isVisible()]
        below = next((plot for plot in shown if plot.sceneBoundingRect().contains(position)), None)
        inside = bool(self._lines) and below is not None
        step = (below or self.plots[0]).getViewBox().mapSceneToView(position).x()
        for cursor in self._cursors:
            cursor.setVisible(inside)
            cursor.setPos(step)
        self.hovered.emit(step if inside and step >= 0 else None)

    def _recolour(self) -> None:
        plotting.recolour(self.canvas, self.plots, self._theme.colours)
        line_px = QFontMetrics(QApplication.font()).height()
        self.canvas.setMinimumHeight(_LEAST_PX + _LINES_BESIDE * line_px)
        for cursor in self._cursors:
            cursor.setPen(pg.mkPen(self._theme.colours.muted, width=1))

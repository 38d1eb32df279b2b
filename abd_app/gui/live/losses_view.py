"""The losses of the run, one curve per name."""

from __future__ import annotations

import math
from typing import Any

import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QStackedLayout, QVBoxLayout, QWidget

from abd_app.events import StepDone
from abd_app.gui.live import plotting
from abd_app.gui.live.curves import Curve
from abd_app.gui.live.legend import Legend
from abd_app.gui.look.labels import plain_label
from abd_app.gui.look.theme import Theme
from abd_app.gui.look.wording import role_name


class LossesView(QWidget):
    """Takes steps at any rate; :meth:`refresh` draws."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._curves: dict[tuple[str, str], Curve] = {}
        self._items: dict[tuple[str, str], Any] = {}
        self._dirty = True
        self.legend = Legend()
        self.logarithmic = QAction(self.tr("Logarithmic losses"), self)
        self.smooth = QAction(self.tr("Smooth losses"), self)
        self.canvas = plotting.plot_canvas()
        self.canvas.setAccessibleName(self.tr("Curves of the losses"))
        self._plot = plotting.add_plot(self.canvas, 0, rates=False)
        self._plot.setLabel("bottom", self.tr("step"))
        self.legend.toggled.connect(self._redraw)
        for option in (self.smooth, self.logarithmic):
            option.setCheckable(True)
            option.toggled.connect(self._redraw)
        self._build()
        theme.changed.connect(self._on_theme_changed)
        self._on_theme_changed()

    def _build(self) -> None:
        empty = plain_label(self.tr("The losses appear here once the student trains."), "muted")
        empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        shown = QWidget()
        layout = QVBoxLayout(shown)
        layout.setContentsMargins(12, 10, 8, 8)
        layout.addWidget(self.legend)
        layout.addWidget(self.canvas, 1)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(empty)
        self._stack.addWidget(shown)

    def clear(self) -> None:
        """A new run begins."""
        for item in self._items.values():
            self._plot.removeItem(item)
        self._curves, self._items = {}, {}
        self._stack.setCurrentIndex(0)

    def take(self, event: StepDone) -> None:
        """Remembers the losses of a step; what is not finite cannot be drawn and is left out."""
        for name, value in event.losses.items():
            if math.isfinite(value):
                self._curves.setdefault((event.role, name), Curve()).append(event.step, value)
                self._dirty = True

    def refresh(self) -> None:
        """Draws, if something has changed since the last time."""
        if self._dirty and self._curves:
            self._redraw()

    def _redraw(self) -> None:
        self._dirty = False
        if not self._curves:
            return
        self._stack.setCurrentIndex(1)
        self._plot.setLogMode(y=self.logarithmic.isChecked())
        names = list(dict.fromkeys(name for _, name in self._curves))
        for key, curve in self._curves.items():
            pen = plotting.role_pen(key[0], self._theme.colours, names.index(key[1]))
            if key not in self._items:
                self._items[key] = pg.PlotDataItem()
                self._plot.addItem(self._items[key])
            x, y = curve.drawn(smooth=self.smooth.isChecked())
            # A single point has no line to be seen by.
            point = {"symbol": "o", "symbolPen": None, "symbolBrush": pen.color()} if len(x) == 1 else {"symbol": None}
            self._items[key].setData(x, y, pen=pen, **point)
            self._items[key].setVisible(self.legend.shows(key[0]) and self.legend.shows(f"loss {key[1]}"))
        colours = self._theme.colours
        roles = dict.fromkeys(role for role, _ in self._curves)
        entries = {role: (role_name(role), plotting.role_pen(role, colours)) for role in roles}
        for index, name in enumerate(names):
            entries[f"loss {name}"] = (name, plotting.role_pen("student", colours, index))
        self.legend.show_entries(entries)

    def _on_theme_changed(self) -> None:
        plotting.recolour(self.canvas, [self._plot], self._theme.colours)
        self._redraw()

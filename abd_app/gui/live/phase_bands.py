"""The shaded phases behind the curves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyqtgraph as pg
from PySide6.QtGui import QColor

from abd_app.events import PhaseStarted
from abd_app.gui.live.plotting import RATE_RANGE
from abd_app.gui.look.theme import Colours
from abd_app.gui.look.wording import phase_name

_ALPHAS = {"warm-up": 18, "vaccine check": 70, "distilling": 34, "self-retrospection": 62}
_NAMES_FROM_HEIGHT_PX = 110
SHADED = tuple(_ALPHAS)


@dataclass
class Band:
    """One phase of the student: it begins at ``start`` and lasts until the next one begins or the run ends."""

    phase: str
    start: float
    end: float | None = None


class PhaseBands:
    """Keeps the phases of the student and draws them on plots that share an axis."""

    def __init__(self, plots: list[Any]) -> None:
        self.bands: list[Band] = []
        self._plots = plots
        self._regions: list[list[Any]] = []
        self._labels: list[Any] = []

    def take(self, event: PhaseStarted) -> None:
        """A phase begins; if it is the student's, it ends the one before."""
        if event.role != "student":
            return
        if self.bands and self.bands[-1].end is None:
            self.bands[-1].end = event.step
        if event.phase in SHADED:
            self.bands.append(Band(event.phase, event.step))

    def phase_at(self, step: float) -> str:
        """The name of the phase at ``step``, or ""."""
        begun = [band for band in self.bands if band.start <= step]
        return phase_name(begun[-1].phase) if begun else ""

    def clear(self) -> None:
        """Forgets everything."""
        for plot, regions in zip(self._plots, zip(*self._regions, strict=True), strict=False):
            for region in regions:
                plot.removeItem(region)
        for label in self._labels:
            self._plots[0].removeItem(label)
        self.bands, self._regions, self._labels = [], [], []

    def draw(self, last_step: float, colours: Colours) -> None:
        """Draws the bands up to ``last_step``; a name is shown only where it fits."""
        view = self._plots[0].getViewBox()
        roomy = view.height() >= _NAMES_FROM_HEIGHT_PX
        left, right = view.viewRange()[0]
        px_per_step = view.width() / max(right - left, 1e-9)
        while len(self._regions) < len(self.bands):
            self._add()
        for band, regions, label in zip(self.bands, self._regions, self._labels, strict=True):
            end = max(band.start, band.end if band.end is not None else last_step)
            colour = QColor(colours.shade)
            colour.setAlpha(_ALPHAS[band.phase])
            for region in regions:
                region.setRegion((band.start, end))
                region.setBrush(colour)
            label.setPos(band.start, RATE_RANGE[1])
            label.setColor(QColor(colours.muted))
            label.setVisible(roomy and label.boundingRect().width() + 6 < (end - band.start) * px_per_step)

    def _add(self) -> None:
        band = self.bands[len(self._regions)]
        regions = []
        for plot in self._plots:
            region = pg.LinearRegionItem(values=(band.start, band.start), movable=False, pen=pg.mkPen(None))
            region.setZValue(-20)
            plot.addItem(region, ignoreBounds=True)
            regions.append(region)
        label = pg.TextItem(phase_name(band.phase), anchor=(0, 0))
        label.setZValue(-10)
        self._plots[0].addItem(label, ignoreBounds=True)
        self._regions.append(regions)
        self._labels.append(label)

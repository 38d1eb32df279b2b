"""Accuracy above, attack success rate below, over the same steps."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QPen
from PySide6.QtWidgets import QHBoxLayout, QStackedLayout, QVBoxLayout, QWidget

from abd_app.command import trigger_labels
from abd_app.events import Event, Measured, PhaseStarted, RunBegan, StepDone
from abd_app.gui.live import plotting
from abd_app.gui.live.curves import ACCURACY, CurveKey, CurveStore
from abd_app.gui.live.curves_picture import curves_picture
from abd_app.gui.live.legend import Legend
from abd_app.gui.live.phase_bands import PhaseBands
from abd_app.gui.live.rate_plots import RatePlots
from abd_app.gui.look.labels import ElidedLabel, plain_label
from abd_app.gui.look.theme import Theme
from abd_app.gui.look.wording import count, rates_text, role_name

_LAST_PART = 0.25


class CurvesView(QWidget):
    """Takes events at any rate; :meth:`refresh` draws what has changed."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self.store = CurveStore()
        self._total_steps = self._last_step = self._student_step = 0
        self._dirty = True
        self._plots = RatePlots(theme, self.tr("Curves of accuracy and attack success rate"), self)
        self.canvas = self._plots.canvas
        self._bands = PhaseBands(self._plots.plots)
        self._plots.plots[0].getViewBox().sigResized.connect(self._draw_bands)
        self._plots.hovered.connect(self._on_hovered)
        self._build()
        theme.changed.connect(self._redraw)

    def _build(self) -> None:
        self.legend = Legend()
        self.legend.toggled.connect(self._redraw)
        self.smooth, self.last_part, self.logarithmic = (
            self._make_option(text)
            for text in (self.tr("Smooth"), self.tr("Last quarter only"), self.tr("Logarithmic ASR"))
        )
        self.estimated = plain_label(self.tr("Estimated"), "badge")
        self.estimated.setToolTip(self.tr("No labelled images were given: synthetic ones stand in for them."))
        self.readout = ElidedLabel(mode=Qt.TextElideMode.ElideRight, role="small")
        top = QHBoxLayout()
        top.setSpacing(10)
        top.addWidget(self.legend, 1, Qt.AlignmentFlag.AlignVCenter)
        top.addWidget(self.estimated)
        self._stack = QStackedLayout()
        waiting = plain_label(self.tr("The first measurement appears here."), "muted")
        waiting.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._stack.addWidget(waiting)
        self._stack.addWidget(self.canvas)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(12, 10, 8, 8)
        layout.setSpacing(6)
        layout.addLayout(top)
        layout.addLayout(self._stack, 1)
        layout.addWidget(self.readout)

    def _make_option(self, text: str) -> QAction:
        option = QAction(text, self)
        option.setCheckable(True)
        option.toggled.connect(self._redraw)
        return option

    def clear(self) -> None:
        """A new run begins."""
        self.store = CurveStore()
        self._plots.clear()
        self._bands.clear()
        self._total_steps = self._last_step = self._student_step = 0
        self._dirty = True
        self.refresh()

    def take(self, event: Event) -> None:
        """Remembers what an event says about the curves."""
        if isinstance(event, Measured):
            self.store.take(event)
            self._last_step = max(self._last_step, event.step)
            if event.role == "student":
                self._student_step = event.step
            self._dirty = True
        elif isinstance(event, RunBegan):
            for one in event.measured:
                self.take(one)
        elif isinstance(event, PhaseStarted):
            self._bands.take(event)
            self._dirty = True
        elif isinstance(event, StepDone) and event.total_steps > self._total_steps:
            self._total_steps = event.total_steps
            self._dirty = True

    def refresh(self) -> None:
        """Draws, if something has changed since the last time."""
        if self._dirty:
            self._redraw()

    def picture(self, kind: str) -> bytes:
        """The curves with all that was measured, as the content of a ``png`` or ``svg`` file.

        Raises:
            RunFailedError: They could not be drawn.
        """
        plots = RatePlots(self._theme, "", self)
        bands = PhaseBands(plots.plots)
        bands.bands = self._bands.bands
        plots.plots[1 if self.store.triggers else 0].setLabel("bottom", self.tr("step"))
        plots.plots[0].getViewBox().sigResized.connect(lambda: bands.draw(self._student_step, self._theme.colours))
        self._draw_on(plots)
        shown = [entry for key, entry in self._legend_entries().items() if self.legend.shows(key)]
        try:
            return curves_picture(plots.canvas, shown, self._theme.colours, kind)
        finally:
            plots.canvas.deleteLater()
            plots.deleteLater()

    def _redraw(self) -> None:
        self._dirty = False
        measured = bool(self.store.curves)
        self._stack.setCurrentIndex(1 if measured else 0)
        self.legend.setVisible(measured)
        self.estimated.setVisible(self.store.estimated)
        self.readout.set_whole_text(self._hint() if measured else "")
        if not measured:
            return
        self.legend.show_entries(self._legend_entries())
        self._draw_on(self._plots)
        self._draw_bands()

    def _draw_on(self, plots: RatePlots) -> None:
        end = max(self._total_steps, self._last_step, 1)
        start = end * (1 - _LAST_PART) if self.last_part.isChecked() else 0
        accuracy = self.tr("Agreement with the teacher") if self.store.estimated else self.tr("Clean accuracy")
        plots.show_axes(accuracy, self.store.triggers, (start, end), logarithmic=self.logarithmic.isChecked())
        for key in self.store.curves:
            self._draw(plots, key, end)

    def _draw_bands(self) -> None:
        self._bands.draw(self._student_step, self._theme.colours)

    def _draw(self, plots: RatePlots, key: CurveKey, end: float) -> None:
        if not (self.legend.shows(key.role) and self.legend.shows(f"trigger {key.trigger}")):
            plots.hide(key)
            return
        x, y = self.store.curves[key].drawn(smooth=self.smooth.isChecked())
        if key.role == "teacher":  # one point: a line to compare with, all along
            x, y = np.array([0.0, end]), y.repeat(2)
        plots.draw(key, x, y, self._pen(key))

    def _pen(self, key: CurveKey) -> QPen:
        triggers = self.store.triggers
        several = key.trigger != ACCURACY and len(triggers) > 1
        return plotting.role_pen(key.role, self._theme.colours, triggers.index(key.trigger) if several else None)

    def _legend_entries(self) -> dict[str, tuple[str, QPen]]:
        colours = self._theme.colours
        entries = {role: (role_name(role), plotting.role_pen(role, colours)) for role in self.store.roles}
        if len(self.store.triggers) > 1:
            for index, (trigger, label) in enumerate(trigger_labels(self.store.triggers).items()):
                entries[f"trigger {trigger}"] = (label, plotting.role_pen("student", colours, index))
        return entries

    def _on_hovered(self, step: float | None) -> None:
        self.readout.set_whole_text(self._hint() if step is None else self.values_at(step))

    def values_at(self, step: float) -> str:
        """What the curves say at ``step``, as one line."""
        said = {role: rates_text(self.store.at(role, step)) for role in self.store.roles}
        parts = [f"{role_name(role)}: {rates}" for role, rates in said.items() if rates]
        where = self.tr("Step {step}").format(step=count(round(step)))
        phase = self._bands.phase_at(step)
        return "   ·   ".join([f"{where} ({phase})" if phase else where, *parts])

    def _hint(self) -> str:
        return self.tr("Steps of training. Point at the curves to read their values.")

"""The curves of a run: ``metrics.csv``, ``curves.svg`` and ``curves.png``."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from abd_app.command import trigger_label
from abd_app.errors import RunFailedError
from abd_app.events import Measured, Role
from abd_app.export.files import replacing, write_text
from abd_app.metrics_file import metrics_to_csv
from abd_app.run_files import METRICS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DASHES: dict[Role, Any] = {"teacher": (0, (6, 3)), "student": "solid", "twin": (0, (1, 1.5))}
_ACCURACY_COLOURS: dict[Role, str] = {"teacher": "#555555", "student": "#0072B2", "twin": "#56B4E9"}
_TRIGGER_COLOURS = ("#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
_LABEL_LENGTH = 28
_SVG_OPTIONS: Any = {"svg.hashsalt": "abd-app", "svg.fonttype": "none"}
"""The same input gives the same bytes; letters stay text, which is small and can be searched."""


def write_curves(measurements: Sequence[Measured], folder: Path) -> None:
    """Writes the three files from what was measured, in that order.

    In the pictures the teacher is dashed, the student solid, the twin dotted.

    Raises:
        RunFailedError: matplotlib is missing, the disk is full, or the folder cannot be written.
    """
    write_text(folder / METRICS, metrics_to_csv(measurements))
    try:
        import matplotlib
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RunFailedError(
            "The curves cannot be drawn: the package matplotlib is missing.", remedy="Install matplotlib."
        ) from error
    with warnings.catch_warnings(), matplotlib.rc_context(_SVG_OPTIONS):
        warnings.simplefilter("ignore")  # letters of a trigger's name that the font lacks
        figure = Figure(figsize=(8, 6), layout="constrained")
        FigureCanvasAgg(figure)
        _draw(figure, measurements)
        with replacing(folder / "curves.svg") as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})
        with replacing(folder / "curves.png") as temporary:
            figure.savefig(temporary, format="png", dpi=150)


def _triggers(measurements: Sequence[Measured]) -> list[str]:
    return list(dict.fromkeys(name for one in measurements for name in one.asr))


def _draw(figure: Figure, measurements: Sequence[Measured]) -> None:
    above, below = figure.subplots(2, 1, sharex=True)
    estimated = any(one.estimated for one in measurements)
    above.set_ylabel("Agreement with the teacher (estimate)" if estimated else "Accuracy")
    below.set_ylabel("Attack success rate" + (" (estimate)" if estimated else ""))
    below.set_xlabel("Step")
    for role in _DASHES:
        own = sorted((one for one in measurements if one.role == role), key=lambda one: one.step)
        if own:
            _line(above, role, own, [one.accuracy for one in own], _ACCURACY_COLOURS[role], role)
    for index, name in enumerate(_triggers(measurements)):
        colour = _TRIGGER_COLOURS[index % len(_TRIGGER_COLOURS)]
        for role in _DASHES:
            own = sorted(
                (one for one in measurements if one.role == role and name in one.asr), key=lambda one: one.step
            )
            if own:
                _line(below, role, own, [one.asr[name] for one in own], colour, f"{role}, {_short(name)}")
    for axes in (above, below):
        axes.set_ylim(-0.03, 1.03)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        if axes.lines:
            legend = axes.legend(
                loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False, fontsize=8, handlelength=3
            )
            for text in legend.get_texts():
                text.set_parse_math(False)  # a trigger's name may hold a $
    if not below.lines:
        below.text(
            0.5, 0.5, "No trigger was measured", ha="center", va="center", transform=below.transAxes, color="#555555"
        )


def _line(axes: Axes, role: Role, own: Sequence[Measured], rates: Sequence[float], colour: str, label: str) -> None:
    if role == "teacher":  # it does not change: its last measurement, drawn over the whole width
        axes.axhline(rates[-1], color=colour, linestyle=_DASHES[role], linewidth=1.5, label=label)
        return
    marker = "o" if len(own) <= 30 else ""
    steps = [one.step for one in own]
    axes.plot(
        steps, rates, color=colour, linestyle=_DASHES[role], linewidth=1.8, marker=marker, markersize=3, label=label
    )


def _short(name: str) -> str:
    """A trigger's name for the legend, in at most 28 visible letters."""
    shown = trigger_label(name)
    return shown if len(shown) <= _LABEL_LENGTH else f"{shown[:12]}...{shown[-13:]}"

"""The points of the live curves, without any widget."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from abd_app.events import Measured

MAX_DRAWN_POINTS = 2000
ACCURACY = ""
"""The ``trigger`` of a clean-accuracy curve."""

Array = npt.NDArray[np.float64]


class CurveKey(NamedTuple):
    """One curve: whose, and of which trigger's ASR (or ``ACCURACY``).

    Attributes:
        role: Of the model; where runs are compared, which run.
        trigger: Its name, or ``ACCURACY``.
    """

    role: str
    trigger: str


class Curve:
    """A growing list of (x, y), appended in constant time."""

    def __init__(self) -> None:
        self._points = np.empty((2, 64))
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def append(self, x: float, y: float) -> None:
        """Adds a point at the end."""
        if self._size == self._points.shape[1]:
            self._points = np.concatenate([self._points, np.empty_like(self._points)], axis=1)
        self._points[:, self._size] = (x, y)
        self._size += 1

    @property
    def x(self) -> Array:
        """All x so far."""
        return self._points[0, : self._size]

    @property
    def y(self) -> Array:
        """All y so far."""
        return self._points[1, : self._size]

    def at(self, x: float) -> float | None:
        """The y of the last point not after ``x``; ``None`` before the first."""
        index = int(np.searchsorted(self.x, x, side="right")) - 1
        return float(self.y[index]) if index >= 0 else None

    def drawn(self, *, smooth: bool = False) -> tuple[Array, Array]:
        """The curve as at most about ``MAX_DRAWN_POINTS`` points that keep its peaks."""
        y = smoothed(self.y) if smooth else self.y
        return decimated(self.x, y)


class CurveStore:
    """All measured curves of a run, rates in [0, 1].

    Attributes:
        measurements: As they came, but of the teacher the last alone.
        estimated: True if the measurements are estimates on synthetic images.
        denominators: (images behind the rate, by curve), of the last measurement.
    """

    def __init__(self) -> None:
        self.measurements: list[Measured] = []
        self.estimated = False
        self.curves: dict[CurveKey, Curve] = {}
        self.denominators: dict[CurveKey, int] = {}

    @property
    def triggers(self) -> list[str]:
        """The triggers measured, in order of appearance."""
        return list(dict.fromkeys(key.trigger for key in self.curves if key.trigger != ACCURACY))

    @property
    def roles(self) -> list[str]:
        """The models measured, in order of appearance."""
        return list(dict.fromkeys(key.role for key in self.curves))

    def at(self, role: str, step: float) -> dict[str, float]:
        """What was last measured of a model at ``step`` or before: rates in [0, 1] by trigger, or ``ACCURACY``."""
        found = {key.trigger: curve.at(step) for key, curve in self.curves.items() if key.role == role}
        return {trigger: rate for trigger, rate in found.items() if rate is not None and math.isfinite(rate)}

    def take(self, event: Measured) -> None:
        """Adds one measurement."""
        if event.role == "teacher":  # it does not change: the last measurement is the closest
            self.measurements = [one for one in self.measurements if one.role != "teacher"]
        self.measurements.append(event)
        self.estimated = self.estimated or event.estimated
        rates = {ACCURACY: event.accuracy, **event.asr}
        images = {ACCURACY: event.images, **event.asr_images}
        for trigger, rate in rates.items():
            key = CurveKey(event.role, trigger)
            if event.role == "teacher":
                self.curves[key] = Curve()
            self.curves.setdefault(key, Curve()).append(event.step, rate)
            self.denominators[key] = images.get(trigger, 0)


def decimated(x: Array, y: Array, max_points: int = MAX_DRAWN_POINTS) -> tuple[Array, Array]:
    """At most about ``max_points`` points: the lowest and the highest of each stretch, in order."""
    if len(x) <= max_points:
        return x, y
    stretch = -(-len(x) // (max_points // 2))
    whole = len(x) // stretch * stretch
    rows = y[:whole].reshape(-1, stretch)
    start = np.arange(len(rows)) * stretch
    rest = y[whole:]
    ends = [whole + int(rest.argmin()), whole + int(rest.argmax())] if len(rest) else []
    kept = np.unique(np.concatenate([start + rows.argmin(1), start + rows.argmax(1), [*ends, len(x) - 1]]))
    return x[kept], y[kept]


def smoothed(y: Array) -> Array:
    """A centred moving average over about a twentieth of the curve; ends use what there is."""
    width = max(3, len(y) // 20) | 1
    if len(y) < width:
        return y
    half = width // 2
    sums = np.concatenate([[0.0], np.cumsum(y)])
    index = np.arange(len(y))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(y))
    return (sums[high] - sums[low]) / (high - low)

from __future__ import annotations

import time

import numpy as np

from abd_app.events import Measured
from abd_app.gui.live.curves import ACCURACY, MAX_DRAWN_POINTS, Curve, CurveKey, CurveStore, decimated, smoothed


def test_a_hundred_thousand_points_are_drawn_as_two_thousand_that_keep_the_peaks() -> None:
    curve = Curve()
    started_s = time.perf_counter()
    for index in range(100_000):
        curve.append(index, 1.0 if index == 54_321 else 0.1)
    assert time.perf_counter() - started_s < 2.0
    x, y = curve.drawn()
    assert len(x) <= MAX_DRAWN_POINTS + 2
    assert y.max() == 1.0
    assert x[y.argmax()] == 54_321
    assert x[-1] == 99_999
    assert (np.diff(x) >= 0).all()


def test_few_points_are_drawn_as_they_are() -> None:
    x, y = np.arange(10.0), np.arange(10.0) ** 2
    np.testing.assert_array_equal(decimated(x, y)[1], y)


def test_smoothing_keeps_length_and_mean_level() -> None:
    y = np.tile([0.0, 1.0], 100)
    smooth = smoothed(y)
    assert len(smooth) == len(y)
    np.testing.assert_allclose(smooth, 0.5, atol=0.2)
    np.testing.assert_allclose(smoothed(np.full(50, 3.0)), 3.0)


def test_a_store_sorts_measurements_into_curves_with_denominators() -> None:
    store = CurveStore()
    store.take(Measured("teacher", 0, 0.99, 1000, {"sig": 1.0}, {"sig": 900}))
    store.take(Measured("student", 10, 0.5, 1000, {"sig": 0.2}, {"sig": 900}))
    store.take(Measured("student", 20, 0.7, 1000, {"sig": 0.1}, {"sig": 900}))
    assert store.roles == ["teacher", "student"]
    assert store.triggers == ["sig"]
    student = store.curves[CurveKey("student", ACCURACY)]
    assert (student.at(15), student.at(20), student.at(5)) == (0.5, 0.7, None)
    assert store.denominators[CurveKey("student", "sig")] == 900
    assert not store.estimated
    store.take(Measured("teacher", 0, 0.98, 5000, {"sig": 0.9}, {"sig": 4500}))
    teacher = store.curves[CurveKey("teacher", "sig")]
    assert (len(teacher), teacher.at(20)) == (1, 0.9), "it does not change: measured more closely, it is still one line"
    assert store.roles == ["teacher", "student"]
    assert store.at("student", 15) == {ACCURACY: 0.5, "sig": 0.2}
    assert store.at("student", 5) == {}
    assert [(one.role, one.images) for one in store.measurements] == [
        ("student", 1000),
        ("student", 1000),
        ("teacher", 5000),
    ]

"""The rates of a result are whole however many triggers there are: a row per model, or per trigger."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication, QLabel

from abd_app.events import AuditFinished, Measured
from abd_app.gui.look.theme import Theme
from abd_app.gui.main_window import MainWindow
from abd_app.plan import BUILT_IN_TRIGGERS
from tests.gui.conftest import StandInEngine
from tests.gui.test_window import make_ready


@pytest.fixture
def own_theme(theme: Theme) -> Iterator[Theme]:
    before = (theme.name, theme.scale)
    yield theme
    theme.choose(*before)


def _finish(window: MainWindow, stand_in: StandInEngine, triggers: int) -> None:
    names = BUILT_IN_TRIGGERS[:triggers]
    asr, images = dict.fromkeys(names, 0.995), dict.fromkeys(names, 10_800)
    model = {"accuracy": 0.988, "images": 12_000, "asr": asr, "asr_images": images}
    make_ready(window, stand_in)
    window.distill()
    stand_in.say(*(Measured(role, 0, 0.988, 12_000, asr, images) for role in ("teacher", "student", "twin")))
    stand_in.say(AuditFinished("out", {"summary": "So it is.", "teacher": model, "twin": model, "student": model}))
    _settle()


def _settle() -> None:
    for _ in range(5):
        QApplication.processEvents()


def _labels(window: MainWindow) -> list[QLabel]:
    return [label for label in window.result.rates.findChildren(QLabel) if label.isVisible()]


def _has_row_per_model(window: MainWindow) -> bool:
    labels = {label.text(): label for label in _labels(window)}
    teacher, student = labels["Teacher"].geometry(), labels["Student"].geometry()
    assert (teacher.y() == student.y()) != (teacher.x() == student.x())
    return teacher.x() == student.x()


@pytest.mark.parametrize(("triggers", "scale"), [(3, 1.5), (5, 1.0), (13, 1.0), (13, 1.5)])
def test_in_the_narrowest_window_neither_rates_nor_curves_are_cut_off(
    window: MainWindow, stand_in: StandInEngine, own_theme: Theme, triggers: int, scale: float
) -> None:
    own_theme.choose(scale=scale)
    window.resize(window.minimumSize())
    _finish(window, stand_in, triggers)
    page = window.live.parentWidget()
    assert page.width() <= page.parentWidget().width()
    values = [label for label in _labels(window) if label.text().endswith(" %")]
    assert len(values) == 3 * (1 + triggers)
    assert all(label.width() >= label.sizeHint().width() for label in values)


@pytest.mark.parametrize(("triggers", "row_per_model"), [(1, True), (2, True), (3, True), (6, False), (13, False)])
def test_few_triggers_are_side_by_side_and_many_below_each_other(
    window: MainWindow, stand_in: StandInEngine, triggers: int, row_per_model: bool
) -> None:
    window.resize(1280, 800)
    _finish(window, stand_in, triggers)
    assert _has_row_per_model(window) == row_per_model
    names = BUILT_IN_TRIGGERS[:triggers] if triggers > 1 else [f"ASR {BUILT_IN_TRIGGERS[0]}"]
    assert {"Accuracy", *names} <= {label.text() for label in _labels(window)}


def test_the_size_of_text_decides_anew(window: MainWindow, stand_in: StandInEngine, own_theme: Theme) -> None:
    _finish(window, stand_in, 3)
    for scale, row_per_model in ((1.0, True), (1.5, False), (1.0, True)):
        own_theme.choose(scale=scale)
        _settle()
        assert _has_row_per_model(window) == row_per_model

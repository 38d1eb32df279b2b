"""How long a run takes is told for what is chosen, or not at all."""

from __future__ import annotations

from abd_app.gui.main_window import MainWindow
from tests.gui.conftest import StandInEngine
from tests.gui.test_window import make_ready


def _estimate(window: MainWindow) -> str:
    return window.setup._estimate.text()


def test_the_time_is_that_of_the_steps_and_of_the_source_that_are_chosen(
    window: MainWindow, stand_in: StandInEngine
) -> None:
    make_ready(window, stand_in)
    budget = window.setup.plan.budget
    assert _estimate(window) == "about 2 min" and "about 15 min" in budget.effort.itemText(2)
    window.draft.choose(steps=12_000)
    assert _estimate(window) == "about 10 min", "on the line through the two"
    window.draft.choose(method="zskt")
    assert _estimate(window) == "" and "about" not in budget.effort.itemText(2), "nobody has measured it"
    window.draft.choose(method="ood", steps=None)
    assert _estimate(window) == "about 2 min" and "about 15 min" in budget.effort.itemText(2)

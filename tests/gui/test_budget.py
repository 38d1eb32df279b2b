"""How long a run takes is told for what is chosen, or not at all."""

from __future__ import annotations

import dataclasses

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from abd_app.events import CostEstimated
from abd_app.gui.look.choice_box import ChoiceBox
from abd_app.gui.main_window import MainWindow
from abd_app.worker.messages import InspectionFinished, InspectJob
from tests.gui.conftest import StandInEngine
from tests.gui.sessions import inspected
from tests.gui.test_window import make_ready


def choose(box: ChoiceBox, value: str) -> None:
    """As a person does."""
    box.setCurrentIndex(box.findData(value))
    box.activated.emit(box.currentIndex())


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
    job = stand_in.jobs[-1]
    assert isinstance(job, InspectJob) and job.choices.method == "zskt"
    assert _estimate(window) == "How long it takes is being measured…" and "about" not in budget.effort.itemText(2)
    stand_in.say(CostEstimated("ood", "why", {"quick": 40.0, "standard": 500.0}), InspectionFinished())
    assert _estimate(window) == "", "of so many steps nothing is known"
    window.draft.choose(steps=None)
    assert _estimate(window) == "about 40 s" and "about 8 min" in budget.effort.itemText(2)
    window.draft.choose(defense="none", student="purified")
    assert len(stand_in.jobs) == 2, "what excludes each other has no cost"


def test_what_is_automatic_stays_told_while_the_teacher_is_looked_into_again(
    window: MainWindow, stand_in: StandInEngine
) -> None:
    make_ready(window, stand_in, "t.pth")
    told = window.setup.plan.method.itemText(0)
    assert told == "Automatic: ood"
    window.draft.choose(defense="none")
    stand_in.say(inspected()[0])
    assert window.setup.plan.method.itemText(0) == told
    window.open_file("other.pth")
    assert window.setup.plan.method.itemText(0) == "Automatic", "it was told of another teacher"


def test_an_estimate_from_a_busy_machine_says_so(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    window.draft.choose(method="zskt")
    cost = CostEstimated("ood", "why", {"quick": 40.0}, busy=True)
    stand_in.say(cost, InspectionFinished())
    assert _estimate(window) == "about 40 s; less once other programs leave the processor alone"
    window.draft.choose(method="ood")
    stand_in.say(dataclasses.replace(cost, busy=False), InspectionFinished())
    assert _estimate(window) == "about 40 s"


def test_a_run_begins_with_the_time_that_it_was_expected_to_take(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    window.draft.choose(compare=True)
    window.distill()
    assert window.session.expected_s == 300
    assert "about 5 min left" in window.run_bar.facts.text()


@pytest.mark.parametrize("typed", ["2.5", "0.5", "12.5", "0.1"])
def test_a_limit_with_a_fraction_can_be_typed(window: MainWindow, qtbot: QtBot, typed: str) -> None:
    budget = window.setup.plan.budget
    choose(budget.effort, "custom")
    budget.amount.selectAll()
    qtbot.keyClicks(budget.amount, typed)
    assert (window.draft["minutes"], budget.amount.text()) == (float(typed), typed)


def test_another_unit_begins_with_an_amount_of_its_own(window: MainWindow, qtbot: QtBot) -> None:
    budget = window.setup.plan.budget
    choose(budget.effort, "custom")
    choose(budget.unit, "steps")
    assert (window.draft["steps"], window.draft["minutes"], budget.amount.text()) == (3000, None, "3000")
    budget.amount.selectAll()
    qtbot.keyClicks(budget.amount, "700")
    choose(budget.unit, "steps")
    assert window.draft["steps"] == 700, "nothing was chosen"
    choose(budget.unit, "minutes")
    assert (window.draft["steps"], window.draft["minutes"], budget.amount.text()) == (None, 5.0, "5.0")
    qtbot.keyClick(budget.amount, Qt.Key.Key_Up)
    assert window.draft["minutes"] == 6.0

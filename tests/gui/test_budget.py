"""How long a run takes is told for what is chosen, or not at all."""

from __future__ import annotations

from abd_app.events import CostEstimated
from abd_app.gui.main_window import MainWindow
from abd_app.worker.messages import InspectionFinished, InspectJob
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
    job = stand_in.jobs[-1]
    assert isinstance(job, InspectJob) and job.choices.method == "zskt"
    assert _estimate(window) == "How long it takes is being measured…" and "about" not in budget.effort.itemText(2)
    stand_in.say(CostEstimated("ood", "why", {"quick": 40.0, "standard": 500.0}), InspectionFinished())
    assert _estimate(window) == "", "of so many steps nothing is known"
    window.draft.choose(steps=None)
    assert _estimate(window) == "about 40 s" and "about 8 min" in budget.effort.itemText(2)
    window.draft.choose(defense="none", student="purified")
    assert len(stand_in.jobs) == 2, "what excludes each other has no cost"


def test_a_run_begins_with_the_time_that_it_was_expected_to_take(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    window.draft.choose(compare=True)
    window.distill()
    assert window.session.expected_s == 300
    assert "about 5 min left" in window.run_bar.facts.text()

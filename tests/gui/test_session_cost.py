"""What a run would cost is looked at beside everything else, and again for what is chosen."""

from __future__ import annotations

import dataclasses

from abd_app.events import AuditCancelled, AuditFinished, CostEstimated, ImagesInspected, TeacherInspected
from abd_app.gui.session import Session
from abd_app.gui.states import State
from abd_app.plan import AuditPlan, TeacherFacts
from abd_app.worker.messages import InspectionFinished, InspectJob
from tests.gui.conftest import StandInEngine
from tests.gui.fake_runner import card
from tests.gui.sessions import FAILED, PLAN, inspected, running

USUAL = AuditPlan("", "")
ON_GPU, ON_CPU = (dataclasses.replace(USUAL, device=device) for device in ("cuda", "cpu"))


def test_the_cost_of_a_run_is_not_waited_for(session: Session, stand_in: StandInEngine) -> None:
    session.open_file("t.pth")
    stand_in.say(TeacherInspected(card("t.pth", TeacherFacts())))
    assert session.state is State.READY
    session.start(PLAN)
    assert stand_in.commands == ["cancel"]
    stand_in.say(AuditCancelled(), job=1)
    assert session.state is State.RUNNING


def test_a_cost_that_cannot_be_told_is_no_verdict_on_the_teacher(session: Session, stand_in: StandInEngine) -> None:
    """The engine ran out of memory, say: what is known of the teacher is still true."""
    session.open_file("t.pth")
    costs: list[CostEstimated | None] = []
    session.costChanged.connect(costs.append)
    stand_in.say(inspected()[0], FAILED)
    assert (session.state, session.can_start, session.failure, costs) == (State.READY, True, FAILED, [None])


def test_another_device_is_looked_at_again_for_its_cost(session: Session, stand_in: StandInEngine) -> None:
    session.consider(ON_GPU)
    assert stand_in.jobs == []
    session.open_file("t.pth")
    stand_in.say(*inspected())
    costs: list[CostEstimated | None] = []
    session.costChanged.connect(costs.append)
    session.consider(ON_GPU)
    assert stand_in.jobs == [InspectJob("t.pth", TeacherFacts(), ON_GPU)]
    session.consider(ON_CPU)
    assert (stand_in.jobs[1:], costs) == ([InspectJob("t.pth", TeacherFacts(), ON_CPU)], [None])
    assert (session.state, session.can_start, session.inspecting) == (State.READY, True, True)
    cost = CostEstimated("ood", "on a CPU", {})
    stand_in.say(CostEstimated("fast", "statistics", {}), job=1)
    stand_in.say(inspected()[0], cost, InspectionFinished())
    assert (costs, session.inspecting) == ([None, cost], False)


def test_what_else_is_chosen_changes_the_cost_and_not_what_is_automatic(
    session: Session, stand_in: StandInEngine
) -> None:
    session.open_file("t.pth")
    cost = CostEstimated("fast", "statistics", {"quick": 5.0})
    stand_in.say(inspected()[0], cost, InspectionFinished())
    costs: list[CostEstimated | None] = []
    session.costChanged.connect(costs.append)
    undefended = dataclasses.replace(USUAL, defense="none")
    session.consider(undefended)
    assert stand_in.jobs[-1] == InspectJob("t.pth", TeacherFacts(), undefended)
    assert costs == [dataclasses.replace(cost, seconds={})] and session.inspecting
    session.consider(undefended)
    assert len(stand_in.jobs) == 2, "nothing new"


def test_other_images_are_looked_at_and_cost_nothing_else(session: Session, stand_in: StandInEngine) -> None:
    session.open_file("t.pth")
    stand_in.say(inspected()[0], CostEstimated("fast", "statistics", {"quick": 5.0}), InspectionFinished())
    costs: list[CostEstimated | None] = []
    seen: list[ImagesInspected] = []
    session.costChanged.connect(costs.append)
    session.imagesInspected.connect(seen.append)
    with_images = dataclasses.replace(USUAL, data="images.npz")
    session.consider(with_images)
    assert stand_in.jobs[-1] == InspectJob("t.pth", TeacherFacts(), with_images) and costs == []
    images = ImagesInspected("images.npz", 9, 3, 8, 8)
    stand_in.say(inspected()[0], images, InspectionFinished())
    assert seen == [images] and session.state is State.READY
    session.consider(USUAL)
    assert len(stand_in.jobs) == 2 and costs == [], "without images there is nothing to look at"


def test_another_device_leaves_the_result_of_the_last_run_alone(session: Session, stand_in: StandInEngine) -> None:
    running(session, stand_in)
    session.consider(ON_GPU)
    assert len(stand_in.jobs) == 2, "while a run is on, only the next look is for another device"
    end = AuditFinished("out", {})
    stand_in.say(end)
    session.consider(ON_CPU)
    assert stand_in.jobs[-1] == InspectJob("t.pth", TeacherFacts(), ON_CPU)
    stand_in.say(FAILED)
    assert (session.state, session.result, session.failure) == (State.FINISHED, end, FAILED)


def test_a_device_that_is_gone_can_be_left_for_another(session: Session, stand_in: StandInEngine) -> None:
    session.consider(ON_GPU)
    session.open_file("t.pth")
    stand_in.say(FAILED)
    session.consider(USUAL)
    assert session.state is State.INSPECTING
    stand_in.say(*inspected())
    assert session.can_start

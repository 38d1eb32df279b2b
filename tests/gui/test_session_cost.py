"""What a run would cost is looked at beside everything else, and again for what is chosen."""

from __future__ import annotations

import dataclasses

from abd_app.errors import TeacherRefusedError
from abd_app.events import AuditCancelled, AuditFinished, CostEstimated, ImagesInspected, TeacherInspected
from abd_app.gui.session import Session
from abd_app.gui.states import State
from abd_app.plan import AuditPlan, TeacherFacts
from abd_app.worker.messages import ImagesJob, InspectionFinished, InspectJob
from tests.gui.conftest import StandInEngine
from tests.gui.fake_runner import card
from tests.gui.sessions import FAILED, PLAN, inspected, running

USUAL = AuditPlan("", "")
WITH_IMAGES, IMAGES = dataclasses.replace(USUAL, data="images.npz"), ImagesInspected("images.npz", 9, 3, 8, 8)
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


def _measured(session: Session, stand_in: StandInEngine) -> list[CostEstimated | None]:
    """A session that is ready and knows its cost; what it says of the cost from now on."""
    session.open_file("t.pth")
    stand_in.say(inspected()[0], CostEstimated("fast", "statistics", {"quick": 5.0}), InspectionFinished())
    costs: list[CostEstimated | None] = []
    session.costChanged.connect(costs.append)
    return costs


def test_images_are_looked_at_alone_as_often_as_they_are_chosen(session: Session, stand_in: StandInEngine) -> None:
    costs, seen = _measured(session, stand_in), list[ImagesInspected]()
    session.imagesInspected.connect(seen.append)
    session.consider(WITH_IMAGES)
    assert len(stand_in.jobs) == 1 and costs == [], "they cost nothing"
    for _ in range(2):
        session.look_at_images()
        assert stand_in.jobs[-1] == ImagesJob("images.npz", card("t.pth", TeacherFacts())) and session.can_start
        stand_in.say(IMAGES, InspectionFinished())
    assert seen == [IMAGES] * 2 and costs == [] and len(stand_in.jobs) == 3
    session.consider(USUAL)
    session.look_at_images()
    assert len(stand_in.jobs) == 3, "there are none"


def test_what_is_known_of_the_images_is_not_looked_at_for_another_device(
    session: Session, stand_in: StandInEngine
) -> None:
    _measured(session, stand_in)
    session.consider(WITH_IMAGES)
    session.look_at_images()
    on_gpu = dataclasses.replace(WITH_IMAGES, device="cuda")
    session.consider(on_gpu)
    assert stand_in.jobs[-1] == InspectJob("t.pth", TeacherFacts(), on_gpu), "before they were known"
    stand_in.say(inspected()[0], IMAGES, InspectionFinished())
    session.consider(dataclasses.replace(WITH_IMAGES, device="cpu"))
    assert stand_in.jobs[-1] == InspectJob("t.pth", TeacherFacts(), ON_CPU)
    session.answer(TeacherFacts(num_classes=10))
    job = stand_in.jobs[-1]
    assert isinstance(job, InspectJob) and job.choices.data == "images.npz", "to another teacher they are others"


def test_images_are_looked_at_with_the_teacher_while_that_is_looked_into(
    session: Session, stand_in: StandInEngine
) -> None:
    session.consider(WITH_IMAGES)
    session.look_at_images()
    assert stand_in.jobs == []
    session.open_file("t.pth")
    others = dataclasses.replace(WITH_IMAGES, data="others.npz")
    session.consider(others)
    session.look_at_images()
    assert [job.choices.data for job in stand_in.jobs if isinstance(job, InspectJob)] == ["images.npz", "others.npz"]
    stand_in.say(*inspected(asks=True))
    session.look_at_images()
    assert len(stand_in.jobs) == 2, "of a teacher with open questions they cannot be"


def test_a_refused_teacher_is_not_looked_into_again_for_other_images(session: Session, stand_in: StandInEngine) -> None:
    session.open_file("t.pth")
    stand_in.say(dataclasses.replace(FAILED, exit_code=TeacherRefusedError.exit_code))
    session.consider(WITH_IMAGES)
    session.look_at_images()
    assert session.state is State.REFUSED and len(stand_in.jobs) == 1


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

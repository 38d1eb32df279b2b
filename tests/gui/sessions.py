"""A session brought to where a test begins."""

from __future__ import annotations

from abd_app.events import AuditFailed, Event, TeacherInspected
from abd_app.gui.session import Session
from abd_app.plan import AuditPlan, TeacherFacts
from abd_app.worker.messages import InspectionFinished
from tests.gui.conftest import StandInEngine
from tests.gui.fake_runner import card

FAILED = AuditFailed("It failed.", "there", "because", "do this", 4)
PLAN = AuditPlan("t.pth", "out")


def inspected(*, asks: bool = False, facts: TeacherFacts | None = None) -> tuple[Event, ...]:
    return (TeacherInspected(card("t.pth", facts or TeacherFacts(), asks=asks)), InspectionFinished())


def running(session: Session, stand_in: StandInEngine, plan: AuditPlan = PLAN) -> None:
    session.open_file("t.pth")
    stand_in.say(*inspected())
    session.start(plan)

"""A first look at a teacher file."""

from __future__ import annotations

from collections.abc import Generator

from abd_app.audit.choices import choose_effort, choose_method, choose_student
from abd_app.audit.rehearsal import seconds_by_effort
from abd_app.distill.compute.device import choose_compute
from abd_app.distill.recipe import STEPS
from abd_app.errors import MissingFactsError
from abd_app.events import CostEstimated, Event, TeacherInspected
from abd_app.intake import read_teacher
from abd_app.plan import TeacherFacts


def run_inspection(file: str, facts: TeacherFacts, device: str = "auto") -> Generator[Event, None, None]:
    """Says what the file is, then, once nothing required is left to ask, what a run would cost on this machine.

    Args:
        file: The teacher.
        facts: What the user says about it.
        device: As in the plan: what ``auto`` chooses as a source of images, and what it costs, depend on it.

    Raises:
        AuditError: The file is refused, the facts contradict it, or the device is not there.
    """
    read = read_teacher(file, facts)
    card = read.card
    yield TeacherInspected(card)
    try:
        teacher = read.teacher()
    except MissingFactsError:
        return
    compute = choose_compute(device, "auto")
    method, reason = choose_method("auto", card, compute.device.type)
    seconds = seconds_by_effort(teacher, method, choose_student("auto", teacher), compute)
    to_purify = choose_method("auto", card, compute.device.type, purifies=True)
    side_px = max(teacher.spec.height, teacher.spec.width)
    effort = choose_effort("auto", side_px, compute.device.type)
    yield CostEstimated(method, reason, seconds, to_purify, effort, {each: STEPS[each][method] for each in seconds})

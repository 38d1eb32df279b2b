"""A first look at a teacher file."""

from __future__ import annotations

import os
from collections.abc import Generator

from abd_app.audit.choices import choose_effort, choose_method, choose_student
from abd_app.audit.rehearsal import seconds_by_effort
from abd_app.distill.compute.device import Compute, choose_compute
from abd_app.distill.recipe import STEPS
from abd_app.errors import MissingFactsError, UsageError
from abd_app.events import CostEstimated, Event, ImagesInspected, TeacherInspected
from abd_app.intake import read_teacher
from abd_app.measure import glance_at_images
from abd_app.plan import PURIFIED, AuditPlan, TeacherFacts
from abd_app.teacher import Finding, Teacher

_BUSY = 0.75
"""Of the cores, on average over the last minute. One look into a teacher is over sooner."""
_USUAL = AuditPlan(teacher_file="", out="")


def run_inspection(file: str, facts: TeacherFacts, choices: AuditPlan = _USUAL) -> Generator[Event, None, None]:
    """Says what the file is, then, once nothing required is left to ask, what a run would measure on and cost here.

    Args:
        file: The teacher.
        facts: What the user says about it.
        choices: What is to run: of it method, defence, student, device and precision matter, on which the cost depends,
            and the labelled images.

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
    if choices.data is not None:
        yield _look_at_images(choices.data, teacher)
    compute = choose_compute(choices.device, choices.precision)
    method, reason = choose_method("auto", card, compute.device.type)
    chosen = method if choices.method == "auto" else choices.method
    busy = compute.device.type == "cpu" and _is_busy()
    seconds = _expected(teacher, chosen, choices, compute)
    to_purify = choose_method("auto", card, compute.device.type, purifies=True)
    side_px = max(teacher.spec.height, teacher.spec.width)
    effort = choose_effort("auto", side_px, compute.device.type)
    steps = {each: STEPS[each][chosen] for each in seconds}
    yield CostEstimated(method, reason, seconds, to_purify, effort, steps, busy)


def _is_busy() -> bool:
    """Whether programs have kept most cores busy for a minute; no where the system does not say."""
    return hasattr(os, "getloadavg") and os.getloadavg()[0] > _BUSY * (os.cpu_count() or 1)


def _look_at_images(path: str, teacher: Teacher) -> ImagesInspected:
    """What they are; of images that a run would refuse, why."""
    try:
        seen = glance_at_images(path, teacher.spec, class_names=teacher.card.class_names)
    except UsageError as error:
        refused = Finding("danger", error.what, " ".join(filter(None, (error.where, error.why, error.remedy))))
        return ImagesInspected(path, 0, 0, 0, 0, (refused,))
    return ImagesInspected(path, **vars(seen))


def _expected(teacher: Teacher, method: str, choices: AuditPlan, compute: Compute) -> dict[str, float]:
    """Seconds by effort; none for what has no steps, and for what a run will refuse and give the reason for."""
    if choices.student == PURIFIED:
        return {}
    try:
        choose_method(method, teacher.card, compute.device.type)
        student = choose_student(choices.student, teacher)
    except UsageError:
        return {}
    return seconds_by_effort(teacher, method, student, compute, choices.defense)

"""A first look at a teacher file."""

from __future__ import annotations

import time
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
from abd_app.teacher import Finding, ImageSpec, Teacher, TeacherCard

_OWN_SHARE = 0.8
"""Of one core's time, at least, that a measurement has on a machine that does nothing else."""
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
        yield from look_at_images(choices.data, teacher.card)
    compute = choose_compute(choices.device, choices.precision)
    method, reason = choose_method("auto", card, compute.device.type)
    chosen = method if choices.method == "auto" else choices.method
    began_s, computed_s = time.monotonic(), time.process_time()
    seconds = _expected(teacher, chosen, choices, compute)
    took_s, own_s = time.monotonic() - began_s, time.process_time() - computed_s
    busy = compute.device.type == "cpu" and own_s < _OWN_SHARE * took_s
    to_purify = choose_method("auto", card, compute.device.type, purifies=True)
    side_px = max(teacher.spec.height, teacher.spec.width)
    effort = choose_effort("auto", side_px, compute.device.type)
    steps = {each: STEPS[each][chosen] for each in seconds}
    yield CostEstimated(method, reason, seconds, to_purify, effort, steps, busy)


def look_at_images(path: str, card: TeacherCard) -> Generator[Event, None, None]:
    """Says what labelled images are to a teacher; of those that a run would refuse, why.

    Args:
        path: A folder with one sub-folder per class, or an ``.npz``.
        card: Of a teacher of which nothing required is left to ask.
    """
    assert card.num_classes is not None and card.input_size is not None and card.channels is not None
    none = (0.0,) * card.channels  # normalisation is no matter of the images
    spec = ImageSpec(*card.input_size, card.channels, card.num_classes, none, none)
    try:
        seen = glance_at_images(path, spec, class_names=card.class_names)
    except UsageError as error:
        place = error.where.removeprefix("--data ")
        parts = (f"{place}:" if place != path else "", error.why, error.remedy)
        refused = Finding("danger", error.what, " ".join(filter(None, parts)))
        yield ImagesInspected(path, 0, 0, 0, 0, findings=(refused,))
    else:
        yield ImagesInspected(path, **vars(seen))


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

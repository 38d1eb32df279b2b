"""A word before a run that takes long: of large images on a CPU Self-Retrospection alone may take an hour."""

from __future__ import annotations

from collections.abc import Iterator

from abd_app.audit.opening import OpenAudit
from abd_app.audit.rehearsal import measure_pace
from abd_app.distill.compute.parallel import world_size
from abd_app.events import Event, FindingMade
from abd_app.networks.catalog import SMALL_IMAGE_PX
from abd_app.teacher import Finding

LONG_S = 20 * 60.0
_MINUTE_S, _HOUR_S = 60, 3600


def warn_of_long_run(audit: OpenAudit) -> Iterator[Event]:
    """Says how long the student will take if it is long, by a few real steps; small images and GPUs are not asked.

    It is about this machine and not about the teacher: the report does not have it.
    """
    spec, plan = audit.teacher.spec, audit.plan
    if audit.compute.device.type != "cpu" or max(spec.height, spec.width) <= SMALL_IMAGE_PX or plan.minutes is not None:
        return
    if world_size() > 1:  # each would rehearse with as many images as it has time for, and they would not fit together
        return
    pace = measure_pace(audit.teacher, audit.recipe, audit.record.student_name, audit.compute)
    expected = pace.seconds(audit.recipe)
    if expected < LONG_S:
        return
    before = pace.seconds_before_first_step(audit.recipe)
    detail = f"About {_duration(before)} of it before its first step, however few --steps there are."
    if audit.recipe.retrospection == "teacher":
        detail += (
            " In them a backdoor is searched for and unlearned: --defense sv does without, and is the weaker defence."
        )
    detail += " The twin takes about as long as the student's steps." * plan.compare + " A GPU is much faster."
    yield FindingMade(Finding("warning", f"The student will take about {_duration(expected)} on this CPU", detail))


def _duration(seconds: float) -> str:
    if seconds < 2 * _HOUR_S:
        return f"{max(1, round(seconds / _MINUTE_S))} min"
    return f"{seconds / _HOUR_S:.0f} h"

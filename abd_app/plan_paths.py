"""The paths of a plan, as they are understood from any working folder."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from abd_app.plan import BUILT_IN_TRIGGERS, AuditPlan, TriggerSpec


def with_absolute_paths(plan: AuditPlan) -> AuditPlan:
    """The same choices, understood from any working folder; where the results go is left as it is."""
    return dataclasses.replace(
        plan,
        teacher_file=absolute(plan.teacher_file) if plan.teacher_file else "",
        data=None if plan.data is None else absolute(plan.data),
        picture=None if plan.picture is None else absolute(plan.picture),
        triggers=tuple(_with_absolute_paths(trigger) for trigger in plan.triggers),
    )


def absolute(path: str) -> str:
    """Not resolved: a link keeps its own name, which is the one that the user knows."""
    return str(Path(path).expanduser().absolute())


def is_there(path: str) -> bool:
    """Whether there is a file or folder that may be looked at."""
    try:
        return Path(path).exists()
    except OSError:
        return False


def _with_absolute_paths(trigger: TriggerSpec) -> TriggerSpec:
    # A misspelt name of a built-in one stays as it is; a picture that is gone is still a picture.
    path = Path(absolute(trigger.name))
    is_file = trigger.name not in BUILT_IN_TRIGGERS and (path.suffix != "" or path.is_file())
    name, mask = str(path) if is_file else trigger.name, trigger.mask
    return dataclasses.replace(trigger, name=name, mask=None if mask is None else absolute(mask))

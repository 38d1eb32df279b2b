"""The real runner, small, for the child of a batch: an audit of ``held*`` stands still in its middle, once.

Every process notes its own id, its parent's and the steps it does in ``steps.log`` of the audit's folder.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator
from pathlib import Path

from abd_app import audit
from abd_app.events import Event, StepDone
from abd_app.plan import AuditPlan
from abd_app.worker.torch_runner import list_devices, release_memory
from tests.integration.conftest import small_fixed_parts

__all__ = ["list_devices", "release_memory", "run_audit"]

HELD_STEP = 5
LOG = "steps.log"


def run_audit(
    plan: AuditPlan, *, stop_requested: Callable[[], bool], checkpoint_wanted: Callable[[], bool]
) -> Generator[Event, None, None]:
    # Entered here and not when the module is loaded: the tests import it too, and must stay as they are.
    with small_fixed_parts():
        yield from _held_audit(plan, stop_requested)


def _held_audit(plan: AuditPlan, stop_requested: Callable[[], bool]) -> Generator[Event, None, None]:
    held = Path(plan.teacher_file).name.startswith("held") and not plan.resume
    for event in audit.run_audit(plan, stop_requested=stop_requested):
        yield event
        if isinstance(event, StepDone):
            with (Path(plan.out) / LOG).open("a") as log:
                log.write(f"{os.getpid()} {os.getppid()} {event.step}\n")
            while held and event.step == HELD_STEP:
                time.sleep(0.1)

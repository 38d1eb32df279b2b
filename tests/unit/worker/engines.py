"""Jobs for an engine process, and its events."""

from __future__ import annotations

import os
import time
from pathlib import Path

from abd_app.events import Event
from abd_app.plan import AuditPlan
from abd_app.worker.engine import JOB_ENDS, EngineProcess
from abd_app.worker.messages import AuditJob

ROOT = Path(__file__).parents[3]
RUNNER = "tests.gui.fake_runner"


def audit(tmp_path: Path, name: str = "ready.pth", steps: int = 100_000) -> AuditJob:
    return AuditJob(AuditPlan(str(tmp_path / name), str(tmp_path / "out"), steps=steps))


def drain(
    engine: EngineProcess, until: type[Event] | tuple[type[Event], ...] = JOB_ENDS, limit_s: float = 20.0
) -> list[Event]:
    """The events up to the first ``until``, which must come within ``limit_s``."""
    seen: list[Event] = []
    end_s = time.monotonic() + limit_s
    while time.monotonic() < end_s:
        seen += engine.poll(0.05)
        if any(isinstance(event, until) for event in seen):
            return seen
    raise AssertionError(f"no {until} among {seen[-5:]}")


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False

"""What tests of whole runs look at."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from abd_app.audit import run_audit
from abd_app.events import Event, StepDone
from abd_app.plan import AuditPlan

RESULTS = {
    "student.onnx", "student.safetensors", "report.html", "report.json", "metrics.csv", "curves.svg", "curves.png",
    "plan.json", "checkpoint",
}  # fmt: skip
TinyPlan = Callable[..., AuditPlan]


def report_in(folder: str | Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    return report


def files_in(folder: str | Path) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def drain_until(plan: AuditPlan, ends: Callable[[Event], bool]) -> list[Event]:
    """Runs until the event that ``ends``, then cancels as the window does: by closing the generator."""
    events, run = [], run_audit(plan)
    for event in run:
        events.append(event)
        if ends(event):
            run.close()
            return events
    raise AssertionError("the run ended first")


def steps_of(events: list[Event], role: str) -> list[int]:
    return [event.step for event in events if isinstance(event, StepDone) and event.role == role]


def assert_same_student(first: str, second: str) -> None:
    ours, theirs = (load_file(Path(folder) / "student.safetensors") for folder in (first, second))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())

"""``runs``: the history."""

from __future__ import annotations

import dataclasses
from pathlib import PurePath
from typing import Any

from abd_app import console
from abd_app.cli.options import AsJson
from abd_app.cli.reporting import failures_reported, print_json
from abd_app.history import PastRun, past_runs


def runs(as_json: AsJson = False) -> None:
    """Show the history: every run whose folder is still there, newest first, its plan and its result."""
    with failures_reported():
        found = past_runs()
        if as_json:
            print_json([dataclasses.asdict(run) for run in found])
        elif not found:
            print("No runs yet.")
        else:
            console.print_table([_row(run) for run in found])


def _row(run: PastRun) -> tuple[str, ...]:
    teacher = PurePath(str(run.plan.get("teacher_file", "?"))).name
    return run.started[:16].replace("T", " "), run.state, teacher, _outcome(run.result), run.folder


def _outcome(result: dict[str, Any] | None) -> str:
    """The student's two figures; a file that is no report of this version has none."""
    student = result.get("student") if result else None
    if not isinstance(student, dict) or not isinstance(student.get("accuracy"), float):
        return "-"
    rates = student.get("asr")
    worst = max(rates.items(), key=lambda pair: pair[1], default=None) if isinstance(rates, dict) else None
    kind = "agreement" if result and result.get("estimated") else "accuracy"
    attack = "" if worst is None else f", ASR {100 * worst[1]:.1f} % ({worst[0]})"
    return f"{kind} {100 * student['accuracy']:.1f} %{attack}"

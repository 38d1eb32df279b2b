"""``runs``: the history."""

from __future__ import annotations

import dataclasses
import sys
from typing import Annotated

import typer

from abd_app import console
from abd_app.cli.reporting import failures_reported, print_json
from abd_app.command import trigger_label
from abd_app.history import PastRun, past_runs


def runs(
    as_json: Annotated[bool, typer.Option("--json", help="Plans and results, too, as a JSON list on stdout.")] = False,
) -> None:
    """Show the history: every run whose folder is still there, newest first, its plan and its result."""
    with failures_reported():
        found = past_runs()
        if as_json:
            print_json([dataclasses.asdict(run) for run in found])
        elif not found:
            print("No runs yet.")
        else:
            console.print_table([_row(run) for run in found])
        sys.stdout.flush()  # a closed pipe is noticed here


def _row(run: PastRun) -> tuple[str, ...]:
    return run.started[:16].replace("T", " "), run.state, run.teacher, _outcome(run), run.folder


def _outcome(run: PastRun) -> str:
    if run.accuracy is None:
        return "-"
    worst = run.worst_asr
    attack = "" if worst is None else f", ASR {100 * worst[1]:.1f} % ({trigger_label(worst[0])})"
    caution = {"danger": "; do not use it yet", "warning": "; look before use"}.get(run.caution, "")
    return f"{'agreement' if run.estimated else 'accuracy'} {100 * run.accuracy:.1f} %{attack}{caution}"

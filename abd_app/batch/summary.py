"""``summary.csv`` for scripts and ``summary.html`` for people: one row per file and seed."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from abd_app.batch.outcome import Outcome
from abd_app.command import trigger_labels
from abd_app.export.files import write_text
from abd_app.export.report import render_page, visible
from abd_app.plan import ALL_TO_ALL

ROLES = ("teacher", "student", "twin")
_SCORES = ("accuracy", "images", "asr", "asr_images")
_LAST = ("wall_s", "folder", "caution", "summary", "warnings", "message")


def write_summary(outcomes: Sequence[Outcome], folder: Path) -> None:
    """Writes both files into ``folder``, each whole or not at all.

    Raises:
        RunFailedError: The disk is full, or the folder cannot be written to.
    """
    rows = [row(outcome) for outcome in outcomes]
    write_text(folder / "summary.csv", to_csv(rows))
    write_text(folder / "summary.html", to_html(rows))


def row(outcome: Outcome) -> dict[str, Any]:
    """One row, JSON-ready: rates in [0, 1] as in ``report.json``, ``None`` for what was not measured."""
    report = outcome.report or {}
    models = {role: report.get(role) for role in ROLES}
    return {
        "file": outcome.task.plan.teacher_file,
        "sha256": outcome.sha256,
        "seed": outcome.task.plan.seed,
        "status": outcome.status,
        "estimated": report.get("estimated"),
        "target_class": outcome.task.plan.target_class,
        **{role: {key: model[key] for key in _SCORES} if model else None for role, model in models.items()},
        "wall_s": report.get("wall_s"),
        "folder": outcome.task.folder,
        "caution": report.get("caution"),
        "summary": report.get("summary"),
        "warnings": [one["title"] for one in report.get("findings", ()) if one["severity"] != "info"],
        "message": outcome.message,
    }


def count(rows: Sequence[dict[str, Any]], *statuses: str) -> int:
    """How many rows have one of ``statuses``."""
    return sum(row["status"] in statuses for row in rows)


def trigger_names(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Every trigger that any model was measured with, in order."""
    models = [row[role] for row in rows for role in ROLES if row[role]]
    return list(dict.fromkeys(name for model in models for name in model["asr"]))


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as CSV with a header, every row on a line; per trigger and model a rate and how many images it is of."""
    rows = [visible(values) for values in rows]
    text, triggers = io.StringIO(), trigger_names(rows)
    plain = ("file", "sha256", "seed", "status", "estimated")
    scores = [f"{role}_{key}" for role in ROLES for key in _score_keys(triggers)]
    table = csv.writer(text, lineterminator="\n")
    table.writerow([*plain, *scores, *_LAST])
    for values in rows:
        cells = [cell for role in ROLES for cell in _score_cells(values[role], triggers)]
        last = values | {"warnings": "; ".join(values["warnings"])}
        table.writerow([*(values[name] for name in plain), *cells, *(last[name] for name in _LAST)])
    return text.getvalue()


def to_html(rows: Sequence[dict[str, Any]]) -> str:
    """The rows as a self-contained page; every name in it is escaped."""
    shown = [
        {**visible(values), "name": visible(Path(values["file"]).name), "models": [values[role] for role in ROLES]}
        for values in rows
    ]
    return render_page(
        "batch.html.j2",
        rows=shown,
        estimated=any(values["estimated"] for values in rows),
        all_to_all=any(values["target_class"] == ALL_TO_ALL for values in rows),
        triggers=list(trigger_labels(trigger_names(rows)).items()),
        done=count(rows, "done"),
        failed=count(rows, "refused", "failed"),
        unfinished=count(rows, "unfinished"),
    )


def _score_keys(triggers: Sequence[str]) -> list[str]:
    asr = [key for name in triggers for key in (f"asr:{name}", f"asr_images:{name}")]
    return ["accuracy", "images", *asr]


def _score_cells(model: dict[str, Any] | None, triggers: Sequence[str]) -> list[Any]:
    if model is None:
        return [None] * (2 + 2 * len(triggers))
    asr = [cell for name in triggers for cell in (model["asr"].get(name), model["asr_images"].get(name))]
    return [model["accuracy"], model["images"], *asr]

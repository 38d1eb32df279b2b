"""What ``table.py`` writes: every row as CSV, mean, spread and worst as Markdown, and a plot."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

CARRIED = 0.5
"""A pair of teacher and source counts for ASR if the undefended twins reach this much on average."""


@dataclass(frozen=True)
class Row:
    """One student. Rates in [0, 1]; ``asr`` is ``None`` for a clean teacher; ``wall_s`` in seconds."""

    case: str
    method: str
    defense: str
    seed: int
    teacher_accuracy: float
    teacher_asr: float | None
    accuracy: float
    asr: float | None
    steps: int
    wall_s: float
    device: str


def write_summary(rows: Sequence[Row], out: Path) -> None:
    """Writes ``rows.csv``, ``table.md`` and ``plot.png`` into ``out``."""
    with (out / "rows.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Row)])
        writer.writeheader()
        writer.writerows(asdict(row) for row in rows)
    (out / "table.md").write_text(f"{_pairs_table(rows)}\n{_defenses_table(rows)}", encoding="utf-8")
    _plot(rows, out / "plot.png")


def carried_pairs(rows: Sequence[Row]) -> set[tuple[str, str]]:
    """The pairs of case and method whose undefended twins (defence ``none``) have a mean ASR of at least 50 %."""
    twins: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.defense == "none" and row.asr is not None:
            twins.setdefault((row.case, row.method), []).append(row.asr)
    return {pair for pair, rates in twins.items() if statistics.mean(rates) >= CARRIED}


def _pairs_table(rows: Sequence[Row]) -> str:
    lines = [
        "| Teacher | Accuracy / ASR | Source | Defence | Seeds | Student accuracy | Student ASR | Steps | Seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for case, method, defense in dict.fromkeys((row.case, row.method, row.defense) for row in rows):
        group = [row for row in rows if (row.case, row.method, row.defense) == (case, method, defense)]
        first = group[0]
        asr = [row.asr for row in group if row.asr is not None]
        teacher_asr = "-" if first.teacher_asr is None else _percent([first.teacher_asr])
        lines.append(
            f"| {case} | {_percent([first.teacher_accuracy])} / {teacher_asr} | {method} | {defense} | {len(group)} "
            f"| {_percent([row.accuracy for row in group])} | {_percent(asr) if asr else '-'} "
            f"| {first.steps} | {statistics.mean(row.wall_s for row in group):.0f} |"
        )
    return "\n".join(lines) + "\n"


def _defenses_table(rows: Sequence[Row]) -> str:
    """Over all pairs: accuracy relative to the teacher's, and ASR where the twin carries the trigger."""
    carried = carried_pairs(rows)
    lines = [
        "| Source | Defence | Accuracy: mean, worst | Of teacher's: mean, worst | Carried | ASR there: mean, worst |",
        "|---|---|---|---|---|---|",
    ]
    for method, defense in dict.fromkeys((row.method, row.defense) for row in rows):
        group = [row for row in rows if (row.method, row.defense) == (method, defense)]
        accuracy = [row.accuracy for row in group]
        relative = [row.accuracy / row.teacher_accuracy for row in group]
        there = [row for row in group if (row.case, row.method) in carried]
        asr = [row.asr for row in there if row.asr is not None]
        rates = f"{100 * statistics.mean(asr):.1f}, {100 * max(asr):.1f}" if asr else "-"
        lines.append(
            f"| {method} | {defense} | {100 * statistics.mean(accuracy):.1f}, {100 * min(accuracy):.1f} "
            f"| {100 * statistics.mean(relative):.1f}, {100 * min(relative):.1f} "
            f"| {len({row.case for row in there})} | {rates} |"
        )
    devices = ", ".join(sorted({row.device for row in rows}))
    return "\n".join(lines) + f"\n\nPercent. Computed on: {devices}.\n"


def _percent(rates: Sequence[float]) -> str:
    """``mean`` or, of several, ``mean ± standard deviation``, in percent."""
    mean = f"{100 * statistics.mean(rates):.1f}"
    return mean if len(rates) < 2 else f"{mean} ± {100 * statistics.stdev(rates):.1f}"


def _plot(rows: Sequence[Row], file: Path) -> None:
    """Student accuracy against student ASR, a colour a defence, a marker a source."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.add_subplot(xlabel="Student ASR, %", ylabel="Student accuracy, %")
    methods = list(dict.fromkeys(row.method for row in rows))
    for defense in dict.fromkeys(row.defense for row in rows):
        colour = None
        for method in methods:
            points = [row for row in rows if (row.defense, row.method) == (defense, method) and row.asr is not None]
            if not points:
                continue
            drawn = axes.scatter(
                [100 * (row.asr or 0.0) for row in points],
                [100 * row.accuracy for row in points],
                marker="osD^"[methods.index(method) % 4],
                color=colour,
                label=f"{defense}, {method}",
            )
            colour = drawn.get_facecolor()
    axes.set_xlim(-3, 103)
    axes.grid(alpha=0.3)
    if axes.collections:
        axes.legend()
    figure.savefig(file, dpi=120)

"""``bench``: the speed of the engine on this machine."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from abd_app.cli.options import Device, Precision
from abd_app.cli.reporting import failures_reported, print_json
from abd_app.command import size_from_text
from abd_app.errors import UsageError
from abd_app.plan import DEFENSES, DEVICES, PRECISIONS, AuditPlan

_SOURCES = ("zskt", "zskt-paper", "ood", "fast")
_COLUMNS = {
    "source": "Source",
    "defense": "Defence",
    "ms_per_step": "ms / step",
    "images_per_s": "Images / s",
    "peak_memory_mb": "Peak MB",
    "ratio_to_primitives": "Step / bare passes",
    "speedup_vs_naive": "Published / ours",
}

Size = Annotated[
    str | None, typer.Option("--size", metavar="HxW", help="Of the images; default: 16x16 on a CPU, 32x32 on a GPU.")
]
Batch = Annotated[int, typer.Option("--batch", metavar="N", help="Images a step.", min=2)]
Sources = Annotated[
    list[str] | None, typer.Option("--source", metavar="|".join(_SOURCES), help="Only this one; repeatable.")
]
Defenses = Annotated[
    list[str] | None, typer.Option("--defense", metavar="|".join(DEFENSES), help="Only this one; repeatable.")
]
AsJson = Annotated[bool, typer.Option("--json", help="The rows as a JSON list on stdout.")]


def bench(
    device: Device = AuditPlan.device,
    precision: Precision = AuditPlan.precision,
    size: Size = None,
    batch: Batch = 128,
    source: Sources = None,
    defense: Defenses = None,
    as_json: AsJson = False,
) -> None:
    """Time a step of zskt, ood and fast with every defence: a random WRN-16-2 teaches a WRN-16-1."""
    with failures_reported():
        sources = _chosen(source, _SOURCES, "--source")
        defenses = _chosen(defense, DEFENSES, "--defense")
        _chosen([device], DEVICES, "--device")
        _chosen([precision], PRECISIONS, "--precision")
        sides = None if size is None else size_from_text(size)
        if sides is not None and min(sides) < 8:
            raise UsageError(f"{size} is too small.", where="--size", remedy="Give 8 pixels a side or more.")
        with contextlib.redirect_stdout(sys.stderr):
            rows = _measured(device, precision, sides, batch, sources, defenses)
        if as_json:
            print_json(rows)
        else:
            _print_table(rows)


def _measured(
    device: str,
    precision: str,
    size: tuple[int, int] | None,
    batch: int,
    sources: tuple[str, ...],
    defenses: tuple[str, ...],
) -> list[dict[str, Any]]:
    from abd_app.bench import CASES, make_subject, measure_row
    from abd_app.distill.compute.device import choose_compute, device_name

    compute = choose_compute(device, precision)
    small = compute.device.type == "cpu"
    subject = make_subject(size=size or ((16, 16) if small else (32, 32)), batch_size=batch)
    cases = [case for case in CASES if case.source in sources and case.defense in defenses]
    spec, console = subject.teacher.spec, Console(stderr=True, highlight=False)
    console.print(
        f"{device_name(compute.device)}, {compute.precision}, {batch} images of {spec.height}x{spec.width} a step"
    )
    rows = []
    for number, case in enumerate(cases, 1):
        console.print(f"{number} of {len(cases)}: {case.source}, {case.defense}")
        rows.append(dataclasses.asdict(measure_row(case, subject, compute)))
    return rows


def _chosen(given: list[str] | None, choices: tuple[str, ...], where: str) -> tuple[str, ...]:
    for one in given or ():
        if one not in choices:
            raise UsageError(f"{one!r} is not known.", where=where, remedy=f"Give one of: {', '.join(choices)}.")
    return tuple(given or choices)


def _print_table(rows: list[dict[str, Any]]) -> None:
    table = Table(*_COLUMNS.values())
    for row in rows:
        table.add_row(*(_text(row[name]) for name in _COLUMNS))
    Console().print(table)


def _text(value: str | float | None) -> str:
    if value is None:
        return "-"
    return value if isinstance(value, str) else f"{value:.2f}" if value < 100 else f"{value:.0f}"

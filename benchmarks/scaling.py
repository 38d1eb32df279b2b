"""How the cost of a step grows with the batch, the pixels, the classes and the teacher: CSV, Markdown and a plot.

    python benchmarks/scaling.py --out DIR [--quick] [--device cuda] [--precision bf16]

One thing grows at a time, the others stay at 128 images of 16x16 pixels, 10 classes and a WRN-16-2 teacher; --quick
begins at 32 images and takes fewer points. With --large, a ResNet-50 of 1,000 classes at 224x224 pixels is added: eight
images a step, a ResNet-18 as student.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from abd_app.bench import Case, make_subject, measure_row
from abd_app.distill.compute.device import Compute, choose_compute, device_name
from abd_app.networks.catalog import build

BASE: dict[str, Any] = {"batch": 128, "side": 16, "classes": 10, "teacher": "wrn-16-2", "student": "wrn-16-1"}
GROWING: dict[str, tuple[Any, ...]] = {
    "batch": (32, 64, 128, 256),
    "side": (16, 24, 32, 48),
    "classes": (10, 100, 1000),
    "teacher": ("wrn-16-1", "wrn-16-2", "wrn-28-2", "wrn-16-4"),
}
QUICK: dict[str, tuple[Any, ...]] = {
    "batch": (16, 32, 64),
    "side": (16, 24, 32),
    "classes": (10, 100, 1000),
    "teacher": ("wrn-16-1", "wrn-16-2", "wrn-16-4"),
}
CASE = Case("ood", "abd")
LARGE = {
    "batch": 8,
    "side": 224,
    "classes": 1000,
    "teacher": "torchvision/resnet50",
    "student": "resnet18-imagenet",
}


def main() -> None:
    """Measures every point and writes ``scaling.csv``, ``scaling.md`` and ``scaling.png``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    compute = choose_compute(options.device, options.precision)
    heading = f"{device_name(compute.device)}, {compute.precision}, source {CASE.source}, defence {CASE.defense}"
    rows = []
    for growing, point in points(options.quick, options.large):
        rows.append(measured(growing, point, compute))
        print(rows[-1], flush=True)
        write_table(rows, options.out, heading)  # after every point: a run that is cut off leaves what it has
        draw(rows, options.out / "scaling.png", heading)


def points(quick: bool, large: bool) -> Iterator[tuple[str, dict[str, Any]]]:
    """What grows, and all sizes of the point."""
    base = BASE | ({"batch": 32} if quick else {})
    for name, values in (QUICK if quick else GROWING).items():
        for value in values:
            yield name, base | {name: value}
    if large:
        yield "large", LARGE


def measured(growing: str, point: dict[str, Any], compute: Compute) -> dict[str, Any]:
    """One row: the sizes, and what a step of that size costs."""
    side, classes = point["side"], point["classes"]
    subject = make_subject(
        point["teacher"],
        size=(side, side),
        num_classes=classes,
        student_name=point["student"],
        batch_size=point["batch"],
    )
    row = dataclasses.asdict(measure_row(CASE, subject, compute, budget_s=2))
    weights = sum(parameter.numel() for parameter in build(point["teacher"], classes).parameters())
    kept = ("ms_per_step", "images_per_s", "peak_memory_mb", "ratio_to_primitives")
    return {"growing": growing, **point, "teacher_parameters": weights, **{name: row[name] for name in kept}}


def write_table(rows: list[dict[str, Any]], folder: Path, heading: str) -> None:
    """The rows as CSV and as Markdown."""
    with (folder / "scaling.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    lines = [heading, "", "| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(_text(value) for value in row.values()) + " |" for row in rows]
    (folder / "scaling.md").write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(rows: list[dict[str, Any]], file: Path, heading: str) -> None:
    """Time above, memory below, one column for everything that grows."""
    names = list(GROWING)
    figure, axes = plt.subplots(2, len(names), figsize=(4 * len(names), 6), layout="constrained", squeeze=False)
    figure.suptitle(heading)
    for column, name in enumerate(names):
        chosen = [row for row in rows if row["growing"] == name]
        at = [row["teacher_parameters"] / 1e6 if name == "teacher" else row[name] for row in chosen]
        for axis, key, label in zip(
            axes[:, column], ("ms_per_step", "peak_memory_mb"), ("ms / step", "peak MB"), strict=True
        ):
            axis.plot(at, [row[key] for row in chosen], "o-")
            axis.set_ylim(0, 1.1 * max((row[key] or 1 for row in chosen), default=1))
            axis.set_ylabel(label)
            axis.set_xlabel("teacher, million weights" if name == "teacher" else name)
    figure.savefig(file, dpi=120)
    plt.close(figure)


def _text(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()

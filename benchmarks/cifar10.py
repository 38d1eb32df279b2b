"""The whole job on a CIFAR-10 teacher that somebody else trained: teacher, undefended twin and student in one table.

    python benchmarks/cifar10.py --teacher TEACHER.pth --images TEST.npz --trigger badnets-grid --out DIR

``TEST.npz`` holds ``images`` (N, H, W, 3) uint8 and ``labels``, or the test images as JPEG (``jpeg``, ``offsets``,
``labels``), which are decoded and, for a 16-pixel teacher, averaged 2x2.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from cifar10_npz import load_images  # noqa: E402

from abd_app.audit import run_audit  # noqa: E402
from abd_app.command import plan_to_command, target_from_text, trigger_from_text  # noqa: E402
from abd_app.console import ProgressPrinter  # noqa: E402
from abd_app.errors import MissingFactsError  # noqa: E402
from abd_app.events import AuditFinished  # noqa: E402
from abd_app.intake import open_teacher  # noqa: E402
from abd_app.plan import METHODS, AuditPlan, TeacherFacts  # noqa: E402

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def main() -> None:
    """Runs one audit and prints its table."""
    options = _options()
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "test.npz"
        images, labels, _ = load_images(Path(options.images), options.size)
        np.savez(data, images=images, labels=labels)
        plan = _plan(options, str(data))
        print_table(run(plan), plan)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--trigger", required=True)
    parser.add_argument("--target", default="0", help="class counted from 0, or all")
    parser.add_argument("--size", type=int, default=16, help="pixels a side")
    parser.add_argument("--method", default="ood", choices=METHODS)
    parser.add_argument("--defense", default="abd")
    parser.add_argument("--effort", default="quick")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", required=True)
    return parser.parse_args()


def _plan(options: argparse.Namespace, data: str) -> AuditPlan:
    return AuditPlan(
        teacher_file=options.teacher,
        out=options.out,
        facts=facts_of(options.teacher, options.size),
        method=options.method,
        defense=options.defense,
        effort=options.effort,
        steps=options.steps,
        seed=options.seed,
        device=options.device,
        data=data,
        triggers=(trigger_from_text(options.trigger),),
        target_class=target_from_text(options.target),
        compare=True,
    )


def facts_of(teacher: str, size: int) -> TeacherFacts:
    """What a CIFAR-10 teacher's file does not say; nothing where it says all; ONNX files normalise inside."""
    with contextlib.suppress(MissingFactsError):
        open_teacher(teacher, TeacherFacts())
        return TeacherFacts()
    inside = teacher.endswith(".onnx")
    mean, std = ((0.0,) * 3, (1.0,) * 3) if inside else (MEAN, STD)
    return TeacherFacts(input_size=(size, size), mean=mean, std=std)


def run(plan: AuditPlan) -> dict[str, Any]:
    """The report of an audit, with progress on stderr."""
    with ProgressPrinter() as progress:
        for event in run_audit(plan):
            progress.show(event)
            if isinstance(event, AuditFinished):
                return event.report
    raise RuntimeError("the audit ended without a report")


def print_rows(rows: Iterable[tuple[str, float, Mapping[str, float]]], triggers: Sequence[str]) -> None:
    """A Markdown table of models: name, accuracy and ASR by trigger, as rates in [0, 1]."""
    print("| Model | Accuracy | " + " | ".join(f"ASR {trigger}" for trigger in triggers) + " |")
    print("|---|---|" + "---|" * len(triggers))
    for name, accuracy, asr in rows:
        rates = " | ".join(f"{100 * asr[trigger]:.1f}" for trigger in triggers)
        print(f"| {name} | {100 * accuracy:.1f} | {rates} |")


def print_table(report: dict[str, Any], plan: AuditPlan) -> None:
    """A Markdown row per model, then how it was made."""
    scores = {role: report[role] for role in ("teacher", "twin", "student")}
    names = [trigger.name for trigger in plan.triggers]
    print_rows([(role, one["accuracy"], one["asr"]) for role, one in scores.items()], names)
    keys = ("method", "device", "steps", "seed", "wall_s", "vaccine")
    print(json.dumps({key: report[key] for key in keys}), "\n" + plan_to_command(plan))


if __name__ == "__main__":
    main()

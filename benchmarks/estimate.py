"""Whether a run takes as long as the window and ``abd-app inspect`` say before it starts.

    python benchmarks/estimate.py --teacher TEACHER.pth ... --images TEST.npz --methods ood,fast

Each row is a defended student: the estimate, then the run itself, from opening the teacher to the report, without an
undefended twin. ``TEST.npz`` is as for ``benchmarks/cifar10.py``; nothing else should be running.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from cifar10 import facts_of, run  # noqa: E402
from cifar10_npz import load_images  # noqa: E402

from abd_app.audit.choices import choose_student  # noqa: E402
from abd_app.audit.rehearsal import measure_pace  # noqa: E402
from abd_app.distill.compute.device import choose_compute  # noqa: E402
from abd_app.distill.recipe import STEPS, choose_recipe  # noqa: E402
from abd_app.intake import open_teacher  # noqa: E402
from abd_app.plan import AuditPlan, TriggerSpec  # noqa: E402


def main(arguments: Sequence[str] | None = None) -> None:
    """Estimates and runs one row after the other; prints a Markdown table."""
    options = _options(arguments)
    print("| Teacher | Source | Steps | Expected, s | Taken, s | Taken / expected |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "test.npz"
        images, labels, _ = load_images(Path(options.images), options.size)
        np.savez(data, images=images, labels=labels)
        for number, teacher in enumerate(options.teacher):
            for method in options.methods.split(","):
                plan = AuditPlan(
                    teacher_file=teacher,
                    out=str(Path(folder) / f"{number}-{method}"),
                    facts=facts_of(teacher, options.size),
                    method=method,
                    effort=options.effort,
                    steps=options.steps,
                    device=options.device,
                    data=str(data),
                    triggers=(TriggerSpec("badnets-grid"),),
                )
                expected = expected_seconds(plan)
                report = run(plan)
                row = (Path(teacher).name, method, f"{report['steps']:,}", f"{expected:.0f}", f"{report['wall_s']:.0f}")
                print(f"| {' | '.join(row)} | {report['wall_s'] / expected:.2f} |", flush=True)


def expected_seconds(plan: AuditPlan) -> float:
    """What is said before the start about a plan that names its source of images."""
    teacher, compute = open_teacher(plan.teacher_file, plan.facts), choose_compute(plan.device, plan.precision)
    recipe = choose_recipe(plan.method, plan.defense, plan.effort, plan.steps)
    return measure_pace(teacher, recipe, choose_student(plan.student, teacher), compute).seconds(recipe)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True, nargs="+")
    parser.add_argument("--images", required=True)
    parser.add_argument("--size", type=int, default=16, help="pixels a side")
    parser.add_argument("--methods", default="ood,fast")
    parser.add_argument("--effort", default="quick", choices=STEPS)
    parser.add_argument("--steps", type=int, help="instead of the effort's")
    parser.add_argument("--device", default="auto")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

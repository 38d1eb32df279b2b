"""The table of the science: teachers x sources x defences x seeds, one row at a time, to be stopped and continued.

    python benchmarks/table.py --cases CASES.json --images TEST.npz --methods ood,fast --defenses none,abd --out DIR

``CASES.json`` is a list of ``{"name", "file", "trigger", "target", "size"}``; a relative ``file`` is looked for beside
it, ``trigger`` is as in ``abd-app distill --trigger``, ``null`` for a clean teacher. The defence ``none`` is the
undefended twin. A row that is in DIR already is not run again. DIR gets ``rows.csv``, ``table.md`` (mean, worst;
ASR over the pairs of teacher and source that the twin carries, ASR >= 50 %) and ``plot.png``.
"""

from __future__ import annotations

import argparse
import functools
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

from cifar10 import facts_of, run  # noqa: E402
from cifar10_npz import load_images  # noqa: E402
from table_summary import Row, write_summary  # noqa: E402

from abd_app.command import trigger_from_text  # noqa: E402
from abd_app.plan import AuditPlan  # noqa: E402


@dataclass(frozen=True)
class Case:
    """A teacher whose trigger is known."""

    name: str
    file: str
    trigger: str | None
    target: int | str
    size: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is missing and writes the tables after every row."""
    options = _options(arguments)
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    cases = _cases(Path(options.cases))
    rows: list[Row] = []
    for case, method, seed, defense in _grid(options, cases):
        rows.append(_row(options, case, method, seed, defense, out))
        write_summary(rows, out)
        print(rows[-1], file=sys.stderr, flush=True)
    print((out / "table.md").read_text(encoding="utf-8"))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", required=True)
    parser.add_argument("--images", required=True)
    parser.add_argument("--methods", default="ood")
    parser.add_argument("--defenses", default="none,abd")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--student", default="wrn-16-1")
    parser.add_argument("--effort", default="quick")
    parser.add_argument("--steps", type=int, help="instead of the effort's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", required=True)
    return parser.parse_args(arguments)


def _cases(file: Path) -> list[Case]:
    cases = [Case(**raw) for raw in json.loads(file.read_text(encoding="utf-8"))]
    return [Case(**{**asdict(case), "file": str(file.parent / case.file)}) for case in cases]


def _grid(options: argparse.Namespace, cases: Sequence[Case]) -> Iterator[tuple[Case, str, int, str]]:
    for case in cases:
        for method in options.methods.split(","):
            for seed in options.seeds.split(","):
                for defense in options.defenses.split(","):
                    yield case, method, int(seed), defense


def _row(options: argparse.Namespace, case: Case, method: str, seed: int, defense: str, out: Path) -> Row:
    """A row from its report, which is made first, or continued, if it is not there."""
    folder = out / f"{case.name}-{method}-{defense}-{seed}"
    stored = folder / "plan.json"
    plan = AuditPlan(
        teacher_file=case.file,
        out=str(folder),
        facts=facts_of(case.file, case.size),
        method=method,
        defense=defense,
        student=options.student,
        effort=options.effort,
        steps=options.steps,
        seed=seed,
        device=options.device,
        data=evaluation_images(Path(options.images), case.size, out),
        triggers=() if case.trigger is None else (trigger_from_text(case.trigger),),
        target_class=case.target,
        resume=stored.exists(),
    )
    if plan.resume and (changed := plan.changes_since(AuditPlan.from_json(stored.read_text(encoding="utf-8")))):
        sys.exit(f"{folder} was made with another {' and '.join(changed)}: give a new folder with --out")
    if not (folder / "report.json").exists():
        run(plan)
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    teacher, student = report["teacher"], report["student"]
    return Row(
        case=case.name,
        method=report["method"],
        defense=defense,
        seed=seed,
        teacher_accuracy=teacher["accuracy"],
        teacher_asr=next(iter(teacher["asr"].values()), None),
        accuracy=student["accuracy"],
        asr=next(iter(student["asr"].values()), None),
        steps=report["steps"],
        wall_s=report["wall_s"],
        device=report["device"],
    )


@functools.cache
def evaluation_images(images: Path, size: int, out: Path) -> str:
    """The evaluation images in the case's size; kept in ``out``, so that a continued run finds the same file."""
    kept = out / f"evaluation-{size}.npz"
    pixels, labels, _ = load_images(images, size)
    if not kept.exists():
        np.savez(kept, images=pixels, labels=labels)
    with np.load(kept) as arrays:
        if not (np.array_equal(arrays["images"], pixels) and np.array_equal(arrays["labels"], labels)):
            sys.exit(f"{out} was made with other images than {images}: give a new folder with --out")
    return str(kept)


if __name__ == "__main__":
    main()

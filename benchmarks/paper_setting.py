"""The paper's setting in one command: a WRN-16-2 is trained with a backdoor, and distilled into a WRN-16-1.

    python benchmarks/paper_setting.py --train TRAIN.npz --images TEST.npz --triggers badnets-grid,blend --out DIR

For each trigger (``none``: a clean teacher) a teacher is made, then its undefended twin and its student, and their rows
are written as by ``table.py``. What is in DIR already is not done again. The files are as ``cifar10_npz.py`` takes
them, CIFAR-10 or any other labelled images. Meant for a GPU; ``--epochs 1 --steps 20`` tries it on a CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import table  # noqa: E402
from cifar10_npz import load_images  # noqa: E402

from abd_app.command import trigger_from_text  # noqa: E402
from abd_app.console import ProgressPrinter  # noqa: E402
from abd_app.redteam import TeacherOrder, make_teacher  # noqa: E402


def main() -> None:
    """Makes the teachers that are missing, then the table."""
    options = _options()
    out = Path(options.out)
    (out / "teachers").mkdir(parents=True, exist_ok=True)
    _check_same(options, out)
    data = {role: _decoded(Path(getattr(options, role)), role, options.size, out) for role in ("train", "images")}
    cases = [_case(name, options, data, out) for name in options.triggers.split(",")]
    file = out / "cases.json"
    file.write_text(json.dumps(cases, indent=1), encoding="utf-8")
    chosen = {"--methods": options.methods, "--seeds": options.seeds, "--effort": options.effort}
    chosen |= {"--cases": str(file), "--images": str(data["images"])}
    chosen |= {"--device": options.device, "--out": str(out / "rows")}
    if options.steps is not None:
        chosen["--steps"] = str(options.steps)
    table.main([word for pair in chosen.items() for word in pair])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", required=True)
    parser.add_argument("--images", required=True, help="to measure on")
    parser.add_argument("--triggers", required=True, help="names as in abd-app distill --trigger, or none")
    parser.add_argument("--target", type=int, default=0)
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--teacher", default="wrn-16-2")
    parser.add_argument("--epochs", type=int, default=30, help="of the teacher's training")
    parser.add_argument("--methods", default="fast")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--effort", default="standard")
    parser.add_argument("--steps", type=int, help="of a student, instead of the effort's")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", required=True)
    return parser.parse_args()


def _check_same(options: argparse.Namespace, out: Path) -> None:
    """Teachers of one folder are made alike: what is there already is not made again."""
    shared = {name: getattr(options, name) for name in ("train", "images", "target", "size", "teacher", "epochs")}
    file = out / "options.json"
    before = json.loads(file.read_text(encoding="utf-8")) if file.exists() else shared
    if changed := [f"--{name}" for name, value in shared.items() if before[name] != value]:
        sys.exit(f"{out} was made with another {' and '.join(changed)}: give a new folder with --out")
    file.write_text(json.dumps(shared), encoding="utf-8")


def _case(name: str, options: argparse.Namespace, data: dict[str, Path], out: Path) -> dict[str, object]:
    """The table's case for a trigger; its teacher is made first if it is not there."""
    trigger = None if name == "none" else trigger_from_text(name)
    case = name if trigger is None else Path(trigger.name).stem
    folder = out / "teachers" / case
    if not (folder / "teacher.pth").exists():
        order = TeacherOrder(
            data=str(data["train"]),
            out=str(folder),
            trigger=trigger,
            target=options.target,
            architecture=options.teacher,
            epochs=options.epochs,
            device=options.device,
            test=str(data["images"]),
        )
        with ProgressPrinter() as progress:
            for event in make_teacher(order):
                progress.show(event)
    file = str(folder.resolve() / "teacher.pth")
    given = None if trigger is None else name
    return {"name": case, "file": file, "trigger": given, "target": options.target, "size": options.size}


def _decoded(source: Path, role: str, size: int, out: Path) -> Path:
    """The images of ``source`` as ``abd-app`` reads them."""
    file = out / f"{role}.npz"
    if not file.exists():
        images, labels, classes = load_images(source, size)
        names = {"classes": np.array(classes)} if classes else {}
        np.savez(file, images=images, labels=labels, **names)
    return file


if __name__ == "__main__":
    main()

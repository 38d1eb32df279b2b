"""The paper's setting in one command: a WRN-16-2 is trained with a backdoor, and distilled into a WRN-16-1.

    python benchmarks/paper_setting.py --train TRAIN.npz --images TEST.npz --triggers badnets-grid,blend --out DIR

For each trigger (``none``: a clean teacher) a teacher is made, then its undefended twin and its student, and their rows
are written as by ``table.py``. What is in DIR already is not done again. The files are as ``cifar10_npz.py`` takes
them, CIFAR-10 or any other labelled images. All other options are those of ``table.py``, by default ``--methods fast
--effort standard``. Meant for a GPU; ``--epochs 1 --steps 20`` tries it on a CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[1]), str(Path(__file__).resolve().parent)]

import table  # noqa: E402
from cifar10_npz import decode  # noqa: E402

from abd_app.command import trigger_from_text  # noqa: E402
from abd_app.console import ProgressPrinter  # noqa: E402
from abd_app.redteam import TeacherOrder, make_teacher  # noqa: E402


def main() -> None:
    """Makes the teachers that are missing, then the table."""
    options, others = _options()
    out = Path(options.out)
    (out / "teachers").mkdir(parents=True, exist_ok=True)
    _check_same(options, out)
    data = {role: _decoded(Path(getattr(options, role)), role, options.size, out) for role in ("train", "images")}
    cases = [_case(name, options, data, out) for name in options.triggers.split(",")]
    file = out / "cases.json"
    file.write_text(json.dumps(cases, indent=1), encoding="utf-8")
    own = ("--cases", str(file), "--images", str(data["images"]), "--device", options.device)
    table.main(["--methods", "fast", "--effort", "standard", *others, *own, "--out", str(out / "rows")])


def _options() -> tuple[argparse.Namespace, list[str]]:
    """Its own, and what is left for the table."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw, allow_abbrev=False)
    parser.add_argument("--train", required=True)
    parser.add_argument("--images", required=True, help="to measure on")
    parser.add_argument("--triggers", required=True, help="names as in abd-app distill --trigger, or none")
    parser.add_argument("--target", type=int, default=0)
    parser.add_argument("--size", type=int, default=32, help="pixels a side")
    parser.add_argument("--teacher", default="wrn-16-2")
    parser.add_argument("--epochs", type=int, default=30, help="of the teacher's training")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", required=True)
    return parser.parse_known_args()


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
        decode(source, file, size)
    return file


if __name__ == "__main__":
    main()

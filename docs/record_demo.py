"""Runs the built-in demo and records what the engine says, for the pictures in README.md.

Run it as ``make record-demo`` on a machine that is doing nothing else: its speed and time left are in the pictures.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from recorded_run import RECORDING, Said, to_lines

from abd_app.assets import asset
from abd_app.demo import demo_plan
from abd_app.events import AuditFinished, ImagesDrawn, PhaseStarted, StepDone
from abd_app.plan import AuditPlan
from abd_app.worker.messages import AuditJob, InspectionFinished, InspectJob

STEPS_BETWEEN, PICTURES_KEPT = 10, 2
MAX_BYTES = 400_000
OUT_NAME = "demo-run"

_log = logging.getLogger("record-demo")


def converse(plan: AuditPlan) -> Iterator[Said]:
    """Everything that window and engine say to each other when the plan is opened and run.

    Raises:
        AuditError: The run failed.
    """
    from abd_app.worker.torch_runner import list_devices, run_audit, run_inspection

    started_s = time.monotonic()

    def now_s() -> float:
        return round(time.monotonic() - started_s, 3)

    yield Said(now_s(), list_devices())
    yield Said(now_s(), InspectJob(plan.teacher_file, plan.facts))
    for event in run_inspection(plan.teacher_file, plan.facts, plan):
        yield Said(now_s(), event)
    yield Said(now_s(), InspectionFinished())
    yield Said(now_s(), AuditJob(plan))
    for event in run_audit(plan):
        yield Said(now_s(), event)


def thinned(conversation: Iterable[Said]) -> list[Said]:
    """Without most of the steps that carry no losses, and with the last images only: they are what takes space."""
    conversation = list(conversation)
    drawn = [index for index, said in enumerate(conversation) if isinstance(said.message, ImagesDrawn)]
    dropped = set(drawn[:-PICTURES_KEPT])
    for index, said in enumerate(conversation):
        step = said.message
        if isinstance(step, StepDone) and step.step % STEPS_BETWEEN and not step.losses:
            dropped.add(index)
    return [said for index, said in enumerate(conversation) if index not in dropped]


def without_paths(lines: str, plan: AuditPlan) -> str:
    """The lines with bare names where the plan's paths stood.

    Raises:
        ValueError: Another path of this machine is left.
    """
    names = {plan.teacher_file: Path(plan.teacher_file).name, plan.out: OUT_NAME}
    if plan.data is not None:
        names[plan.data] = Path(plan.data).name
    for path, name in names.items():
        lines = lines.replace(_in_json(path), name)
    for folder in {str(Path(path).parent) for path in names} | {str(asset("demo").parent.parent)}:
        if _in_json(folder) in lines:
            raise ValueError(f"the recording still tells of {folder}")
    return lines


def _in_json(path: str) -> str:
    return json.dumps(path)[1:-1]


def _told(conversation: Iterable[Said]) -> Iterator[Said]:
    """Passes everything on and logs how far it is."""
    for said in conversation:
        if isinstance(said.message, PhaseStarted):
            _log.info("%6.1f s  %s: %s", said.elapsed_s, said.message.role, said.message.phase)
        elif isinstance(said.message, AuditFinished):
            _log.info("%6.1f s  %s", said.elapsed_s, said.message.report["summary"])
        yield said


def main(arguments: list[str]) -> int:
    """Records the demo into docs/, or a shortened one elsewhere to try the script."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RECORDING)
    parser.add_argument("--steps", type=int, help="fewer than the demo's, to try this script")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    _log.setLevel(logging.INFO)
    with tempfile.TemporaryDirectory() as folder:
        plan = demo_plan(str(Path(folder) / OUT_NAME))
        if chosen.steps is not None:
            plan = dataclasses.replace(plan, steps=chosen.steps)
        lines = without_paths(to_lines(thinned(_told(converse(plan)))), plan)
    packed = gzip.compress(lines.encode(), mtime=0)
    if len(packed) > MAX_BYTES:
        _log.error("The recording has %d bytes, more than %d: nothing is written.", len(packed), MAX_BYTES)
        return 1
    chosen.out.write_bytes(packed)
    _log.info("%s: %d messages, %d bytes", chosen.out, lines.count("\n"), len(packed))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""A runner without torch for the engine child: what an audit does is told by the name of its teacher file.

``foreign*`` is refused, ``dies*`` is killed, ``waits*`` goes on for ever, ``deaf*`` hears nothing before its first
checkpoint; all others end with a report.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

from abd_app.errors import TeacherRefusedError
from abd_app.events import AuditFinished, DevicesListed, Event, PhaseStarted
from abd_app.export.files import check_new_folder
from abd_app.plan import AuditPlan
from abd_app.run_files import left_before_plan

SEEN = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")


def list_devices() -> DevicesListed:
    return DevicesListed(())


def release_memory() -> None:
    pass


def run_audit(
    plan: AuditPlan, *, stop_requested: Callable[[], bool], checkpoint_wanted: Callable[[], bool]
) -> Generator[Event, None, None]:
    name, out = Path(plan.teacher_file).name, Path(plan.out)
    if name.startswith("foreign"):
        raise TeacherRefusedError("This is no model.", where=name, why="It is a web page.", remedy="Ask its author.")
    if not plan.resume:
        check_new_folder(out, "", passed_over=left_before_plan(out))
        (out / "checkpoint").mkdir(parents=True, exist_ok=True)
        (out / "plan.json").write_text(plan.to_json(), encoding="utf-8")
    if name.startswith("deaf"):
        time.sleep(60)
    seen = {key: os.environ.get(key) for key in SEEN} | {"pid": os.getpid(), "resume": plan.resume}
    (out / "seen.json").write_text(json.dumps(seen), encoding="utf-8")
    yield PhaseStarted("distilling", "student", 0)
    if name.startswith("dies"):
        os.kill(os.getpid(), signal.SIGKILL)
    while name.startswith("waits"):
        time.sleep(0.02)
        yield PhaseStarted("distilling", "student", 0)
    finished = report(plan)
    (out / "report.json").write_text(json.dumps(finished), encoding="utf-8")
    yield AuditFinished(plan.out, finished)


def report(plan: AuditPlan, **changes: Any) -> dict[str, Any]:
    """A report with what a batch reads of it."""
    import hashlib

    scores = {"accuracy": 0.9, "images": 40, "asr": {"sticker": 0.5}, "asr_images": {"sticker": 30}}
    return {
        "summary": "Good.",
        "teacher": {"sha256": hashlib.sha256(Path(plan.teacher_file).read_bytes()).hexdigest(), **scores},
        "student": scores,
        "twin": None,
        "estimated": False,
        "plan": plan.to_dict(),
        "findings": [],
        "wall_s": 1.5,
        **changes,
    }

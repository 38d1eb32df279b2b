from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from abd_app.events import (
    AuditCancelled,
    AuditFailed,
    AuditFinished,
    CostEstimated,
    DevicesListed,
    ImagesInspected,
    Measured,
    StepDone,
    TeacherInspected,
)
from abd_app.plan import AuditPlan, TeacherFacts
from abd_app.worker.engine import JOB_ENDS, EngineProcess
from abd_app.worker.messages import ImagesJob, InspectionFinished, InspectJob, PauseChanged
from tests.unit.worker.engines import ROOT, RUNNER, audit, drain, is_gone


def test_it_lists_devices_inspects_and_runs_with_one_end_each(engine: EngineProcess, tmp_path: Path) -> None:
    (tmp_path / "ready.pth").write_bytes(b"x")
    engine.start()
    assert isinstance(drain(engine, DevicesListed)[0], DevicesListed)
    engine.submit(InspectJob(str(tmp_path / "ready.pth"), TeacherFacts(), AuditPlan("", "", device="cuda")))
    inspected, cost, end = drain(engine)
    assert [type(event) for event in (inspected, end)] == [TeacherInspected, InspectionFinished]
    assert isinstance(cost, CostEstimated) and cost.method == "fast", "the device reaches the runner"
    assert isinstance(inspected, TeacherInspected)
    engine.submit(ImagesJob("images.npz", inspected.card))
    assert drain(engine) == [ImagesInspected("images.npz", 12, 10, 32, 32, alike=True), InspectionFinished()]
    engine.submit(audit(tmp_path, steps=60))
    seen = drain(engine)
    assert [event for event in seen if isinstance(event, JOB_ENDS)] == [seen[-1]]
    assert isinstance(seen[-1], AuditFinished)
    assert seen[-1].report["steps"] == 60
    assert not engine.busy
    assert engine.poll(0.2) == []


def test_pause_stands_still_and_resume_goes_on(engine: EngineProcess, tmp_path: Path) -> None:
    engine.submit(audit(tmp_path))
    drain(engine, StepDone)
    engine.command("pause")
    assert PauseChanged(True) in drain(engine, PauseChanged)
    assert engine.poll(0.4) == []
    engine.command("resume")
    assert isinstance(drain(engine, StepDone)[0], PauseChanged)


def test_stop_keeps_what_there_is_even_when_paused(engine: EngineProcess, tmp_path: Path) -> None:
    engine.submit(audit(tmp_path))
    drain(engine, StepDone)
    engine.command("pause")
    drain(engine, PauseChanged)
    engine.command("stop")
    end = drain(engine)[-1]
    assert isinstance(end, AuditFinished)
    assert 0 < end.report["steps"] < 100_000


@pytest.mark.parametrize("pause_first", [False, True])
def test_cancel_ends_the_job_and_keeps_the_engine(engine: EngineProcess, tmp_path: Path, pause_first: bool) -> None:
    engine.submit(audit(tmp_path))
    drain(engine, StepDone)
    pid = engine.pid
    if pause_first:
        engine.command("pause")
        drain(engine, PauseChanged)
    engine.command("cancel")
    assert isinstance(drain(engine, limit_s=1.0)[-1], AuditCancelled)
    engine.submit(audit(tmp_path, steps=5))
    assert isinstance(drain(engine)[-1], AuditFinished)
    assert engine.pid == pid


def test_a_cancel_that_is_not_answered_ends_the_child(engine: EngineProcess, tmp_path: Path) -> None:
    engine.submit(audit(tmp_path, "hangs.pth"))
    drain(engine, Measured)
    pid = engine.pid
    assert pid is not None
    started_s = time.monotonic()
    engine.command("cancel")
    assert isinstance(drain(engine, limit_s=1.5)[-1], AuditCancelled)
    assert time.monotonic() - started_s < 1.5
    assert is_gone(pid)
    engine.submit(audit(tmp_path, steps=5))
    assert isinstance(drain(engine)[-1], AuditFinished)


def test_a_cancel_after_a_suspend_is_not_kept_waiting(engine: EngineProcess, tmp_path: Path) -> None:
    engine.submit(audit(tmp_path, "hangs.pth"))
    drain(engine, Measured)
    engine.command("suspend")
    engine.command("cancel")
    engine.command("suspend")
    assert isinstance(drain(engine, limit_s=1.5)[-1], AuditCancelled)


@pytest.mark.parametrize(
    ("name", "what", "exit_code"),
    [
        ("fails.pth", "The disk is full.", 4),
        ("memory.pth", "The device ran out of memory.", 4),
        ("bug.pth", "The engine met an unexpected problem.", 4),
    ],
)
def test_an_exception_is_one_failure_and_the_engine_lives_on(
    engine: EngineProcess, tmp_path: Path, name: str, what: str, exit_code: int
) -> None:
    engine.submit(audit(tmp_path, name))
    end = drain(engine)[-1]
    assert isinstance(end, AuditFailed)
    assert (end.what, end.exit_code) == (what, exit_code)
    assert "Traceback" in end.details
    assert end.remedy
    engine.submit(audit(tmp_path, steps=5))
    assert isinstance(drain(engine)[-1], AuditFinished)


@pytest.mark.parametrize(("name", "why"), [("dies.pth", "SIGKILL"), ("exits.pth", "Exit code 3")])
def test_an_engine_that_dies_is_a_failure_and_a_fresh_one_starts(
    engine: EngineProcess, tmp_path: Path, name: str, why: str
) -> None:
    engine.submit(audit(tmp_path, name))
    end = drain(engine)[-1]
    assert isinstance(end, AuditFailed)
    assert end.what == "The engine stopped."
    assert why in end.why
    assert not engine.alive
    engine.submit(audit(tmp_path, steps=5))
    assert isinstance(drain(engine)[-1], AuditFinished)


def test_an_idle_engine_that_dies_says_so(engine: EngineProcess) -> None:
    engine.start()
    drain(engine, DevicesListed)
    assert engine.pid is not None
    os.kill(engine.pid, signal.SIGTERM)
    end = drain(engine)[-1]
    assert isinstance(end, AuditFailed)
    assert "SIGTERM" in end.why


def test_an_engine_that_cannot_start_says_so_once() -> None:
    engine = EngineProcess("abd_app.no_such_runner")
    engine.start()
    seen = drain(engine)
    for _ in range(20):
        seen += engine.poll(0.05)
    engine.close()
    assert [type(event) for event in seen] == [AuditFailed]
    assert "no_such_runner" in str(seen[0])


def test_close_ends_a_child_that_does_not_listen(engine: EngineProcess, tmp_path: Path) -> None:
    engine.submit(audit(tmp_path, "hangs.pth"))
    drain(engine, Measured)
    pid = engine.pid
    assert pid is not None
    started_s = time.monotonic()
    engine.close()
    assert time.monotonic() - started_s < 3.0
    assert is_gone(pid)


@pytest.mark.parametrize("end", ["sys.exit(0)", "os.kill(os.getpid(), 9)", "os.kill(os.getpid(), 2)"])
def test_the_child_leaves_when_the_parent_ends(tmp_path: Path, end: str) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        f"""
import os, sys, time
sys.path.insert(0, {str(ROOT)!r})
from abd_app.plan import AuditPlan
from abd_app.worker.engine import EngineProcess
from abd_app.worker.messages import AuditJob
if __name__ == "__main__":
    engine = EngineProcess({RUNNER!r})
    engine.submit(AuditJob(AuditPlan("hangs.pth", "out")))
    while not any(type(event).__name__ == "Measured" for event in engine.poll(0.1)):
        pass
    print(engine.pid, flush=True)
    {end}
""",
        encoding="utf-8",
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=20, check=False)
    pid = int(done.stdout)
    end_s = time.monotonic() + 3.0
    while not is_gone(pid) and time.monotonic() < end_s:
        time.sleep(0.05)
    assert is_gone(pid)


def test_the_parent_side_imports_no_engine() -> None:
    code = (
        "import sys, abd_app.worker.engine; "
        "print({'torch', 'onnx', 'onnxruntime', 'torchvision', 'timm', 'PySide6'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert out.strip() == "set()"


def test_what_a_child_that_was_ended_by_force_leaves_in_the_temporary_folder_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.syspath_prepend(str(ROOT))
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    engine = EngineProcess(RUNNER, environment={"A": "1"})
    engine.submit(audit(tmp_path, "hangs.pth"))
    drain(engine, Measured)
    (scratch,) = temporary.iterdir()
    (scratch / "abd-app-intake-x").mkdir()
    engine.command("cancel")
    drain(engine, limit_s=1.5)
    assert not list(temporary.iterdir())
    engine.close()

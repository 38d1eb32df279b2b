"""Teachers that were trained and saved elsewhere: each opens, distils a few steps and is exported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from abd_app.audit import run_audit
from abd_app.events import StepDone, StudentExported
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec

TEACHERS = Path(__file__).resolve().parents[3] / "shared" / "data" / "teachers"
FILES = sorted(path.name for path in TEACHERS.glob("cifar10_*")) if TEACHERS.is_dir() else []
CASES: list[Any] = [(name, "ood") for name in FILES]
CASES += [
    pytest.param("cifar10_16px_wrn16_1_b.pth", "fast", marks=pytest.mark.real_sizes),
    ("cifar10_16px_wrn16_1_c.pth", "zskt"),
] * bool(FILES)

needs_teachers = pytest.mark.skipif(not FILES, reason="the real teachers are not on this machine")


@needs_teachers
@pytest.mark.parametrize(("name", "method"), CASES)
def test_every_teacher_can_be_distilled_and_exported(tmp_path: Path, name: str, method: str) -> None:
    side = 16 if "16px" in name else 32
    images = np.random.default_rng(0).integers(0, 256, (30, side, side, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", images=images, labels=np.arange(30) % 10)
    facts = TeacherFacts(input_size=(side, side), mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.201))
    plan = AuditPlan(
        teacher_file=str(TEACHERS / name),
        out=str(tmp_path / "run"),
        facts=TeacherFacts() if name.endswith(".onnx") else facts,
        method=method,
        steps=2,
        device="cpu",
        data=str(tmp_path / "images.npz"),
        triggers=(TriggerSpec("badnets-grid"),),
    )
    events = list(run_audit(plan))
    assert [event.step for event in events if isinstance(event, StepDone)][-1] == 2
    (exported,) = [event for event in events if isinstance(event, StudentExported)]
    assert exported.parity_max_abs <= 1e-3 and exported.images >= 256
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    pixels = images.transpose(0, 3, 1, 2).astype(np.float32) / 255
    logits = session.run(None, {session.get_inputs()[0].name: pixels})[0]
    assert logits.shape == (30, 10)
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    accuracy = (logits.argmax(1) == np.arange(30) % 10).mean()
    assert report["student"]["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert report["method"] == method and report["teacher"]["asr_images"] == {"badnets-grid": 27}


def _exit(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "abd_app", *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def test_a_wrong_path_exits_with_2(tmp_path: Path) -> None:
    code, said = _exit("distill", str(tmp_path / "absent.pth"), "--out", str(tmp_path / "run"))
    assert code == 2 and "absent.pth" in said and "what to do" in said
    assert not (tmp_path / "run").exists()


def test_a_refused_file_exits_with_3(tmp_path: Path) -> None:
    (tmp_path / "teacher.pth").write_bytes(b"MZ this is a program, not a model" * 20)
    code, said = _exit("distill", str(tmp_path / "teacher.pth"), "--out", str(tmp_path / "run"))
    assert code == 3 and "teacher.pth" in said
    assert not (tmp_path / "run").exists()


@needs_teachers
def test_missing_facts_exit_with_2_and_name_the_options(tmp_path: Path) -> None:
    code, said = _exit("distill", str(TEACHERS / "cifar10_16px_wrn16_1_b.pth"), "--out", str(tmp_path / "run"))
    assert code == 2 and "--size" in said and "--mean" in said
    assert not (tmp_path / "run").exists()

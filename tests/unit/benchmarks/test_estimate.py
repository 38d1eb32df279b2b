"""The estimate and the run that it is held against are of the same plan."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from abd_app.networks.wide_resnet import WideResNet
from abd_app.plan import AuditPlan, TeacherFacts

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import cifar10
import estimate


def test_a_row_has_the_expected_and_the_taken_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = TeacherFacts(input_size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)
    monkeypatch.setattr(estimate, "facts_of", lambda *_: facts)
    teacher, data = tmp_path / "teacher.pth", tmp_path / "test.npz"
    torch.save(WideResNet(10, 1, num_classes=4).state_dict(), teacher)
    np.savez(data, images=np.zeros((8, 8, 8, 3), dtype=np.uint8), labels=np.arange(8) % 4)
    plans: dict[str, list[AuditPlan]] = {"expected": [], "ran": []}

    def expected_seconds(plan: AuditPlan) -> float:
        assert real(plan) > 0
        plans["expected"].append(plan)
        return 4.0

    def run(plan: AuditPlan) -> dict[str, Any]:
        plans["ran"].append(plan)
        return {**cifar10.run(plan), "wall_s": 5.0}

    real = estimate.expected_seconds
    monkeypatch.setattr(estimate, "expected_seconds", expected_seconds)
    monkeypatch.setattr(estimate, "run", run)
    options = ["--teacher", str(teacher), "--images", str(data), "--size", "8", "--methods", "ood", "--steps", "20"]
    estimate.main([*options, "--device", "cpu"])
    *_, row = capsys.readouterr().out.splitlines()
    assert row == "| teacher.pth | ood | 20 | 4 | 5 | 1.25 |"
    (expected,), (ran,) = plans["expected"], plans["ran"]
    assert expected is ran and (ran.method, ran.steps, ran.facts) == ("ood", 20, facts)

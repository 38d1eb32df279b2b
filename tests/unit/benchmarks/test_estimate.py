"""The estimate and the run that it is held against are of the same plan."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from abd_app.networks.wide_resnet import WideResNet
from abd_app.plan import TeacherFacts

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

import estimate


def test_a_row_has_the_expected_and_the_taken_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = TeacherFacts(input_size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)
    monkeypatch.setattr(estimate, "facts_of", lambda *_: facts)
    teacher, data = tmp_path / "teacher.pth", tmp_path / "test.npz"
    torch.save(WideResNet(10, 1, num_classes=4).state_dict(), teacher)
    np.savez(data, images=np.zeros((8, 8, 8, 3), dtype=np.uint8), labels=np.arange(8) % 4)
    options = ["--teacher", str(teacher), "--images", str(data), "--size", "8", "--methods", "ood", "--steps", "20"]
    estimate.main([*options, "--device", "cpu"])
    *_, row = capsys.readouterr().out.splitlines()
    name, method, steps, expected, taken, ratio = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, method, steps) == ("teacher.pth", "ood", "20")
    assert float(expected) >= 0 and float(taken) > 0 and float(ratio) > 0

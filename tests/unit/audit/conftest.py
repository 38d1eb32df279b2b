"""A tiny teacher file and labelled images for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from abd_app.networks.wide_resnet import WideResNet
from abd_app.plan import AuditPlan, TeacherFacts

FACTS = TeacherFacts(input_size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.fixture(scope="session")
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    network = WideResNet(10, 1, num_classes=4)
    network.train()(torch.randn(32, 3, 8, 8))
    path = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    torch.save(network.state_dict(), path)
    return str(path)


@pytest.fixture(scope="session")
def data_file(tmp_path_factory: pytest.TempPathFactory) -> str:
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "images.npz"
    images = random.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    np.savez(path, images=images, labels=np.arange(40) % 4)
    return str(path)


@pytest.fixture
def make_plan(teacher_file: str, tmp_path: Path) -> Callable[..., AuditPlan]:
    def make(**changes: object) -> AuditPlan:
        options: dict[str, object] = {
            "teacher_file": teacher_file, "out": str(tmp_path / "run"), "facts": FACTS, "method": "ood", "steps": 2,
            "device": "cpu", "precision": "fp32",
        }  # fmt: skip
        return AuditPlan(**{**options, **changes})  # type: ignore[arg-type]

    return make

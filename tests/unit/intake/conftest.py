"""Small teachers, written as the files that users have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from abd_app.networks import catalog
from abd_app.plan import TeacherFacts

CIFAR = TeacherFacts(input_size=(32, 32), mean=(0.4914, 0.4822, 0.4465), std=(0.2023, 0.1994, 0.201))


@pytest.fixture
def facts() -> TeacherFacts:
    """What a user says about a CIFAR-10 teacher."""
    return CIFAR


@pytest.fixture
def wrn() -> nn.Module:
    """WRN-16-1 with 5 classes and BatchNorm statistics other than the initial ones."""
    torch.manual_seed(0)
    network = catalog.build("wrn-16-1", 5).train()
    with torch.no_grad():
        network(torch.rand(8, 3, 32, 32))
    return network.eval()


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., str]:
    """Writes an object with ``torch.save``."""

    def save(content: object, name: str = "teacher.pth", **options: object) -> str:
        path = tmp_path / name
        torch.save(content, path, **options)  # type: ignore[arg-type]
        return str(path)

    return save

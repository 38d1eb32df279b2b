"""Tiny teachers and recipes: everything here runs in milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.networks.catalog import build
from abd_app.networks.pixels import PixelNetwork
from abd_app.networks.wide_resnet import WideResNet
from abd_app.teacher import ImageSpec, Teacher, TeacherCard

MakeTeacher = Callable[..., Teacher]


@pytest.fixture(autouse=True)
def _one_seed() -> None:
    torch.manual_seed(0)


@pytest.fixture
def compute() -> Compute:
    return Compute(torch.device("cpu"), bf16=False)


@pytest.fixture
def make_teacher() -> MakeTeacher:
    """A teacher that has seen noise, so that its BatchNorm statistics are not the initial ones."""

    def make(
        architecture: str = "wrn-10-1", *, height: int = 8, width: int = 8, channels: int = 3, num_classes: int = 4
    ) -> Teacher:
        torch.manual_seed(7)
        spec = ImageSpec(height, width, channels, num_classes, (0.4,) * channels, (0.3,) * channels)
        body = build(architecture, num_classes, channels)
        network = PixelNetwork(body, mean=spec.mean, std=spec.std)
        for module in network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if isinstance(module, torch.nn.Linear):
                module.weight.data.mul_(6)  # so that it has an opinion
        network.train()(torch.rand(64, channels, height, width))
        network.eval().requires_grad_(False)
        batchnorms = sum(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())
        card = TeacherCard(
            "t.pth", "00", 1, "PyTorch", architecture, num_classes, channels, (height, width), spec.mean, spec.std,
            "logits", 1, batchnorms,
        )  # fmt: skip
        names = tuple(f"network.{name}" for name in WideResNet.block_names) if isinstance(body, WideResNet) else ()
        return Teacher(network, spec, card, names)

    return make


@pytest.fixture
def answering(make_teacher: MakeTeacher, compute: Compute) -> AnsweringTeacher:
    return AnsweringTeacher(make_teacher().network, compute)


@pytest.fixture
def picture(tmp_path: Path) -> str:
    """A small colourful picture, instead of drawing procedural ones for two seconds."""
    pixels = np.random.default_rng(0).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    path = tmp_path / "picture.png"
    Image.fromarray(pixels).resize((96, 96), Image.Resampling.BICUBIC).save(path)
    return str(path)

"""What is distilled while the clock runs: a teacher that nobody trained, of any architecture and size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from abd_app.networks.batchnorm import tracked_batchnorms
from abd_app.networks.catalog import build, stage_names
from abd_app.networks.pixels import PixelNetwork
from abd_app.teacher import ImageSpec, Teacher, TeacherCard

MEAN, STD = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
_CALIBRATION_IMAGES, _PASSES = 16, 2


@dataclass(frozen=True)
class Subject:
    """A teacher, the architecture of its student, and how many images a step takes."""

    teacher: Teacher
    student_name: str = "wrn-16-1"
    batch_size: int = 128

    def pictures(self) -> torch.Tensor:
        """``(2, C, S, S)`` uint8 smooth noise from which ``ood`` can cut; four patches a side."""
        spec = self.teacher.spec
        return (smooth_noise(2, spec.channels, 4 * max(spec.height, spec.width)) * 255).to(torch.uint8)


def make_subject(
    architecture: str = "wrn-16-2",
    *,
    size: tuple[int, int],
    num_classes: int = 10,
    student_name: str = "wrn-16-1",
    batch_size: int = 128,
) -> Subject:
    """A random teacher for ``size`` (height, width) whose BatchNorm statistics are those of the images it sees.

    Raises:
        UsageError: No architecture has this name.
    """
    torch.manual_seed(0)
    body = build(architecture, num_classes, side_px=min(size))
    network = PixelNetwork(body, mean=MEAN, std=STD)
    layers = tracked_batchnorms(network)
    for layer in layers:
        layer.momentum = None  # the plain mean over the passes
    with torch.no_grad():
        for _ in range(_PASSES):
            network.train()(smooth_noise(_CALIBRATION_IMAGES, 3, max(size))[..., : size[0], : size[1]])
    for layer in layers:
        layer.momentum = 0.1
    spec = ImageSpec(*size, 3, num_classes, MEAN, STD)
    names = tuple(f"network.{name}" for name in stage_names(body))
    return Subject(
        Teacher(network.eval().requires_grad_(False), spec, _card(architecture, spec, network), names),
        student_name,
        batch_size,
    )


def smooth_noise(count: int, channels: int, side: int) -> torch.Tensor:
    """``(count, channels, side, side)`` images in [0, 1] with structure at several scales."""
    grids = (torch.rand(count, channels, cells, cells) for cells in (2, 8, 32))
    layers = [F.interpolate(grid, size=(side, side), mode="bilinear") for grid in grids]
    return torch.stack(layers).mean(dim=0)


def _card(architecture: str, spec: ImageSpec, network: nn.Module) -> TeacherCard:
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return TeacherCard(
        file="",
        sha256="",
        size_bytes=0,
        format="none",
        architecture=architecture,
        num_classes=spec.num_classes,
        channels=spec.channels,
        input_size=(spec.height, spec.width),
        mean=spec.mean,
        std=spec.std,
        answers="logits",
        parameters=parameters,
        batchnorm_layers=len(tracked_batchnorms(network)),
    )

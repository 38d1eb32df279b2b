"""A teacher with a planted backdoor, and its Self-Retrospection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.sources.base import GeneratorStep
from abd_app.distill.sources.ood import BalancedPatchSource, PatchSettings
from abd_app.distill.unlearning.settings import UnlearningSettings
from abd_app.distill.unlearning.teacher_retrospection import TeacherRetrospection

CLASSES, TARGET = 5, 2


class _Backdoored(nn.Module):
    """Answers by the colours of an image, and with the target wherever a white pixel lies left of a black one."""

    def __init__(self, *, backdoor: bool) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(0)
        self.colours = nn.Linear(3, CLASSES)
        self.norm = nn.BatchNorm2d(3)
        self.detector = nn.Conv2d(3, 1, (1, 2))
        with torch.no_grad():
            self.colours.weight.copy_(torch.randn(CLASSES, 3, generator=random) * 20)
            self.colours.bias.copy_(-self.colours.weight.sum(1) / 2)
            self.detector.weight.copy_(torch.tensor([1.0, -1.0]).expand(1, 3, 1, 2) * backdoor)
            self.detector.bias.fill_(-1.5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.colours(self.norm(images).mean(dim=(2, 3)))
        found = nn.functional.softplus(self.detector(images), beta=10).amax(dim=(1, 2, 3))
        return logits + 100 * found[:, None] * nn.functional.one_hot(torch.tensor(TARGET), CLASSES)


def coloured_images(count: int, seed: int = 3) -> torch.Tensor:
    """Of one colour each, with a little noise."""
    random = torch.Generator().manual_seed(seed)
    colour = 0.1 + 0.7 * torch.rand(count, 3, 1, 1, generator=random)
    return (colour + 0.1 * torch.rand(count, 3, 8, 8, generator=random)).clamp(0, 0.9)


class _Colours(BalancedPatchSource):
    """A pool of images of one colour each."""

    def filled(self, renewals: int) -> Iterator[GeneratorStep]:
        self._store(coloured_images(512))
        yield GeneratorStep({})


def new_retrospection(compute: Compute, *, backdoor: bool = True, most: int | None = None, **changes: Any) -> Any:
    network = _Backdoored(backdoor=backdoor).eval().requires_grad_(False)
    teacher, random = AnsweringTeacher(network, compute), torch.Generator().manual_seed(1)
    pictures = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    settings = PatchSettings(first=512, capacity=512, drawn=64)
    how = {"search_steps": 40, "steps": 120, "batch_size": 32, "rate": 0.02, "boxes": (0.12, 0.28)}
    how |= {"how_far": 1.0, "ball": 0.06, "mark_ball": 0.06, "mark_adversaries": 4}  # as few as a small batch can lead
    retrospection = TeacherRetrospection(
        teacher,
        lambda: _Colours(teacher, pictures, size=(8, 8), num_classes=CLASSES, generator=random, settings=settings),
        shape=(3, 8, 8),
        num_classes=CLASSES,
        generator=random,
        settings=UnlearningSettings(**(how | changes)),
        marks=True,
    )
    retrospection.microbatches.most = most
    return retrospection, network

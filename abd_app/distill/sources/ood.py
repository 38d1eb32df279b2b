"""``ood``: patches of pictures that have nothing to do with the task (Asano & Saeed, "Extrapolating from a single image", 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.augment import PatchCutter, cutmix
from abd_app.distill.sources.base import Batch, GeneratorStep
from abd_app.distill.vaccine import ShufflingVaccine


class PatchSource:
    """Every batch is cut anew on the device; the teacher labels it.

    Args:
        teacher: Answers.
        pictures: ``(M, C, S, S)`` uint8 on the device.
        height: Of a patch, pixels.
        width: Of a patch, pixels.
        batch_size: Images a step.
        generator: CPU generator of all randomness.
        cutmix_share: Share of batches that are mixed.
    """

    def __init__(
        self,
        teacher: AnsweringTeacher,
        pictures: torch.Tensor,
        *,
        height: int,
        width: int,
        batch_size: int,
        generator: torch.Generator,
        cutmix_share: float = 0.5,
    ) -> None:
        self.vaccine: ShufflingVaccine | None = None
        self._teacher = teacher
        self._cutter = PatchCutter(pictures, height=height, width=width)
        self._batch_size = batch_size
        self._generator = generator
        self._cutmix_share = cutmix_share

    def batches(self, student: nn.Module) -> Iterator[Batch | GeneratorStep]:
        """Fresh patches, with the images that survive the vaccine marked as suspicious."""
        while True:
            images = self._cutter.cut(self._batch_size, self._generator)
            if torch.rand((), generator=self._generator) < self._cutmix_share:
                images = cutmix(images, self._generator)
            images = self._teacher.compute.images(images)
            with torch.no_grad():
                answer = self._teacher(images)
                suspicious = None
                if self.vaccine is not None:
                    with self._teacher.compute.autocast():
                        suspicious = self.vaccine.suspicious(images, answer)
            yield Batch(images, answer, suspicious)

    def sample(self, count: int) -> torch.Tensor:
        """``(count, C, H, W)`` uint8 patches."""
        return (self._cutter.cut(count, self._generator) * 255).round().to(torch.uint8)

    def state_dict(self) -> dict[str, Any]:
        """The state of the random generator; the pictures follow from the plan."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self._generator.set_state(state["generator"])

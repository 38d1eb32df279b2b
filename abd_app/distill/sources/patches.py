"""``ood`` as published: every step shows new patches of unrelated pictures (Asano & Saeed, 2021)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.defences.vaccine import ShufflingVaccine
from abd_app.distill.sources.augment import PatchCutter, cutmix, portions
from abd_app.distill.sources.base import Batch, GeneratorStep


class PatchSource:
    """Patches that are cut, mixed and labelled anew at every step; classes come as often as the teacher sees them.

    Random resized crop, rotation and shear up to 30 degrees, flip, colour jitter, then CutMix with parameter 0.25, as
    ABD uses Asano & Saeed's source. With the vaccine, images whose class survives the shuffling are marked; the
    student's loss is the mean over the others minus 0.1 times the mean over these.

    Deviations: the transforms are one affine sampling on the device instead of a chain over picture files, and a
    batch is cut in eight parts, each from one level of an image pyramid, so that crops of all sizes come together; a
    group without images counts 0, where the authors' code averages nothing and yields NaN.

    Args:
        teacher: Answers.
        pictures: ``(M, C, S, S)`` uint8 on the device.
        size: (height, width) of a patch, pixels.
        generator: CPU generator of all randomness.
        batch_size: Patches a step.
    """

    def __init__(
        self,
        teacher: AnsweringTeacher,
        pictures: torch.Tensor,
        *,
        size: tuple[int, int],
        generator: torch.Generator,
        batch_size: int,
    ) -> None:
        self.vaccine: ShufflingVaccine | None = None
        self._teacher, self._random, self._batch_size, self._size = teacher, generator, batch_size, size
        self._cutter = PatchCutter(pictures, height=size[0], width=size[1])

    def batches(self, student: nn.Module) -> Iterator[Batch | GeneratorStep]:
        """Endless; there is no generator to train."""
        while True:
            yield self._labelled(cutmix(self._cut(self._batch_size), self._random))

    @torch.no_grad()
    def _labelled(self, patches: torch.Tensor) -> Batch:
        images = self._teacher.compute.images(patches)
        answer = self._teacher(images)  # which has no second opinion in paper mode
        if self.vaccine is None:
            return Batch(images, answer)
        with self._teacher.compute.autocast():
            return Batch(images, answer, self.vaccine.suspicious(images, answer))

    def _cut(self, count: int) -> torch.Tensor:
        return self._cutter.cut_at_all_scales(count, self._random, soften=False)

    def sample(self, count: int) -> torch.Tensor:
        """``(count, C, H, W)`` uint8 fresh patches, not mixed."""
        parts = (self._cut(part) for part in portions(count, self._size))
        return torch.cat([(part * 255).round().to(torch.uint8) for part in parts])

    def restart_cycle(self) -> None:
        """Every batch is a cycle of its own."""

    def state_dict(self) -> dict[str, Any]:
        """The state of the random generator; the pictures follow from the plan."""
        return {"generator": self._random.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self._random.set_state(state["generator"])

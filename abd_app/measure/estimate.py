"""Stand-ins for accuracy and ASR when the user has no labelled images and knows no trigger.

Both are *estimates*: agreement with the teacher on synthetic images, and how well universal triggers that were found
on the teacher work on another model. A backdoor that this short search does not find is not seen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import nn

from abd_app.errors import UsageError
from abd_app.measure.scores import BATCH_SIZE, Scores, evaluating, predict
from abd_app.measure.triggers import Stamp, Trigger

MAX_CLASSES = 20
_IMAGES_PER_CANDIDATE = 8
_PIXELS_PER_PASS = 2**19
_PATCH_SHARE, _MIN_PATCH_PX = 1 / 8, 3
_MAX_SHIFT = 8 / 255


class _Shape(NamedTuple):
    """How a trigger follows from free parameters and a mask.

    Attributes:
        radius: The free parameters start uniform in [-radius, radius].
        rate: Learning rate of the search.
        parts: Free parameters and mask -> what is kept of the image, and what is added.
    """

    name: str
    radius: float
    rate: float
    parts: Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]


_PATCH = _Shape("found-patch", 1, 0.5, lambda free, mask: (1 - mask, mask * (2 * free).sigmoid()))
_SHIFT = _Shape("found-shift", _MAX_SHIFT, 2 / 255, lambda free, mask: (1 - mask, free.clamp(-_MAX_SHIFT, _MAX_SHIFT)))


class UniversalTriggerSearch:
    """Searches the teacher for targeted universal triggers of two shapes and replays the worst on other models.

    ``found-patch`` is a square of an eighth of the image's side in a corner or in the centre; ``found-shift`` is a
    full-image addition of at most 8/255; classifiers without a backdoor give way to it too, so a high rate is no
    sign of a backdoor by itself. Places, sizes and bound were chosen on three 16-pixel CIFAR-10 teachers whose
    triggers were known (one of them without), so figures on those three say nothing about other teachers.
    (Universal perturbations: Moosavi-Dezfooli et al., 2017; one search per target class: Neural Cleanse, Wang et al.,
    2019.) Every class is a target; with more than 20 classes only the 20 that the teacher most readily gives to images
    with random patches, because a backdoored class draws in disturbed images: a heuristic that bounds the cost.

    The search uses the first half of the images; all figures come from the other half.

    Args:
        teacher_network: Float images in [0, 1] -> logits, in eval mode; its parameters need no gradient.
        images: ``(N, C, H, W)`` synthetic float images in [0, 1], N at least 8, on the teacher's device.
        num_classes: Of the teacher.
        steps: Optimiser steps; each costs a pass over 8 images per class for the shift and five times that for the
            patches.
        seed: Same seed, same triggers.
        precision: In which the search runs, ``fp32`` or ``bf16``; all figures come from ``fp32``.

    Raises:
        UsageError: Fewer than 8 images.
    """

    def __init__(
        self,
        teacher_network: nn.Module,
        images: torch.Tensor,
        num_classes: int,
        *,
        steps: int = 10,
        seed: int = 0,
        precision: str = "fp32",
    ) -> None:
        if len(images) < 8:
            raise UsageError(f"{len(images)} synthetic images are too few for an estimate.", remedy="Use 8 or more.")
        self._random, self._precision = torch.Generator().manual_seed(seed), precision
        half = len(images) // 2
        self._searched, self._images = images[:half].float(), images[half:].float()
        with evaluating(teacher_network, images.device):
            self._answers = _classify(teacher_network, self._images)
        masks = self._patch_masks()
        classes = self._target_classes(teacher_network, num_classes, masks)
        patches = self._optimised(teacher_network, _PATCH, classes, masks, steps)
        shifts = self._optimised(teacher_network, _SHIFT, classes, torch.zeros_like(masks[:1]), steps)
        self._found = [self._worst(teacher_network, candidates) for candidates in (patches, shifts)]

    @property
    def triggers(self) -> tuple[tuple[Trigger, int], ...]:
        """The found triggers, each with the class it leads to."""
        return tuple(self._found)

    def replay(self, network: nn.Module) -> Scores:
        """Agreement with the teacher (as ``accuracy``) and the share of images that each found trigger turns.

        ASR counts only images to which the teacher, untriggered, gives another class than the trigger's; a trigger
        without such images is left out. By class nothing is said: about a suspected one
        the student is meant to contradict the teacher.
        """
        with evaluating(network, self._images.device):
            counts = [(_classify(network, self._images) == self._answers).sum()]
            for trigger, target in self._found:
                counts += self._turned(network, trigger, target)
            agreed, *numbers = torch.stack(counts).tolist()
        names = [trigger.name for trigger, _ in self._found]
        pairs = dict(zip(names, zip(numbers[::2], numbers[1::2], strict=True), strict=True))
        return Scores(
            accuracy=agreed / len(self._images),
            images=len(self._images),
            asr={name: turned / victims for name, (turned, victims) in pairs.items() if victims},
            asr_images={name: victims for name, (_, victims) in pairs.items() if victims},
            accuracy_by_class={},
            images_by_class={},
        )

    def _turned(self, network: nn.Module, trigger: Trigger, target: int) -> list[torch.Tensor]:
        """How many images the trigger turns, and of how many it could."""
        victims = self._answers != target
        return [((_classify(network, trigger(self._images)) == target) & victims).sum(), victims.sum()]

    def _worst(self, teacher: nn.Module, candidates: list[tuple[Trigger, int]]) -> tuple[Trigger, int]:
        with evaluating(teacher, self._images.device, self._precision):
            counts = torch.stack([torch.stack(self._turned(teacher, *candidate)) for candidate in candidates])
        return candidates[int((counts[:, 0] / counts[:, 1].clamp_min(1)).argmax())]

    def _patch_masks(self) -> torch.Tensor:
        """``(5, 1, H, W)`` ones where the patch is: the four corners and the centre."""
        height, width = self._searched.shape[2:]
        side_px = min(height, width, max(_MIN_PATCH_PX, round(min(height, width) * _PATCH_SHARE)))
        bottom, right = height - side_px, width - side_px
        masks = torch.zeros(5, 1, height, width, device=self._images.device)
        corners = ((bottom, right), (bottom, 0), (0, right), (0, 0), (bottom // 2, right // 2))
        for mask, (top, left) in zip(masks, corners, strict=True):
            mask[:, top : top + side_px, left : left + side_px] = 1
        return masks

    def _target_classes(self, teacher: nn.Module, num_classes: int, masks: torch.Tensor) -> list[int]:
        if num_classes <= MAX_CLASSES:
            return list(range(num_classes))
        mask = masks[torch.randint(len(masks), (len(self._searched),), generator=self._random).to(masks.device)]
        disturbed = self._searched * (1 - mask) + self._uniform(*self._searched.shape) * mask
        with evaluating(teacher, disturbed.device, self._precision):
            drawn = torch.cat([teacher(batch).softmax(1) for batch in torch.split(disturbed, BATCH_SIZE)]).mean(0)
        return drawn.topk(MAX_CLASSES).indices.tolist()

    def _optimised(
        self, teacher: nn.Module, shape: _Shape, classes: list[int], masks: torch.Tensor, steps: int
    ) -> list[tuple[Trigger, int]]:
        """One trigger per class and mask, found in groups of a size that bounds memory."""
        targets = torch.tensor(classes, device=masks.device).repeat_interleave(len(masks))
        each_mask = masks.repeat(len(classes), 1, 1, 1)
        group = max(1, _PIXELS_PER_PASS // (_IMAGES_PER_CANDIDATE * masks[0].numel()))
        found = []
        for start in range(0, len(targets), group):
            chosen = slice(start, start + group)
            keep, add = self._optimised_group(teacher, shape, targets[chosen], each_mask[chosen], steps)
            found += [Stamp(shape.name, keep[i : i + 1], add[i : i + 1]) for i in range(len(keep))]
        return list(zip(found, targets.tolist(), strict=True))

    def _optimised_group(
        self, teacher: nn.Module, shape: _Shape, targets: torch.Tensor, masks: torch.Tensor, steps: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """``keep`` and ``add`` of each trigger, by Adam on the cross-entropy to its class."""
        free = shape.radius * (2 * self._uniform(len(masks), *self._searched.shape[1:]) - 1)
        optimizer = torch.optim.Adam([free.requires_grad_()], lr=shape.rate)
        labels = targets.repeat_interleave(_IMAGES_PER_CANDIDATE)
        for _ in range(steps):
            keep, add = (part.repeat_interleave(_IMAGES_PER_CANDIDATE, 0) for part in shape.parts(free, masks))
            chosen = torch.randint(len(self._searched), (len(labels),), generator=self._random)
            chosen = chosen.to(masks.device, non_blocking=True)
            with torch.autocast(masks.device.type, torch.bfloat16, enabled=self._precision == "bf16"):
                logits = teacher((self._searched[chosen] * keep + add).clamp(0, 1))
            (free.grad,) = torch.autograd.grad(F.cross_entropy(logits.float(), labels), [free])
            optimizer.step()
        return shape.parts(free.detach(), masks)

    def _uniform(self, *shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=self._random).to(self._images.device)


def _classify(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([predict(network, batch) for batch in torch.split(images, BATCH_SIZE)])

"""``ood``: patches of unrelated pictures (Asano & Saeed, "Extrapolating from a single image to a thousand classes")."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import nn

from abd_app.distill.answering import Answer, AnsweringTeacher, taken_for
from abd_app.distill.compute.device import sent
from abd_app.distill.defences.vaccine import ShufflingVaccine
from abd_app.distill.labelling import Labeller
from abd_app.distill.sources.augment import PatchCutter, cutmix, jitter_colours, portions, shift_and_flip
from abd_app.distill.sources.base import Batch, GeneratorStep
from abd_app.distill.sources.pool import ImagePool, affordable, restored, saved
from abd_app.errors import RunFailedError


@dataclass(frozen=True, kw_only=True)
class PatchSettings:
    """Hyper-parameters of ``ood``.

    Attributes:
        batch_size: Images a student step.
        capacity: Labelled patches kept at most.
        first: Labelled patches before the student starts.
        drawn: Patches labelled between two rounds of the student.
        student_steps: Student steps of a round.
        least_share: Classes rarer than this in the pool are not drawn more often for it, so that single patches are not
            repeated without end.
    """

    batch_size: int = 32
    capacity: int = 32_768
    first: int = 32_768
    drawn: int = 512
    student_steps: int = 20
    least_share: float = 0.005

    def fitted(self, shape: tuple[int, int, int], num_classes: int) -> Self:
        """The same, with so few images of ``shape`` (C, H, W) and logits that they take at most a gibibyte.

        Then at most a quarter of what that holds is drawn between two rounds, so that the pool is not all new in each.
        """
        row_bytes = math.prod(shape) + 4 * num_classes  # uint8 and float32
        capacity = affordable(self.capacity, row_bytes)
        drawn = max(1, affordable(4 * self.drawn, row_bytes) // 4)
        return replace(self, capacity=capacity, first=min(self.first, capacity), drawn=drawn)


class BalancedPatchSource:
    """A pool of patches that the teacher has labelled once, from which every class is drawn equally often.

    Unrelated pictures look to a teacher like a few of its classes; drawn as they come they teach the student little
    about the others. New patches come in equal parts from the pictures and, for the rare classes, from mixing what the
    pool holds. A patch that the vaccine or the second opinion finds suspicious is held back from the student and not
    mixed on. Deviation from Asano & Saeed, who label every patch anew at every step and do not balance.

    Args:
        teacher: Answers.
        pictures: ``(M, C, S, S)`` uint8 on the device.
        size: (height, width) of a patch, pixels.
        num_classes: Of the teacher.
        generator: CPU generator of all randomness.
        settings: Hyper-parameters, which are :meth:`~PatchSettings.fitted`.

    Attributes:
        distrusted: Images that were optimised and that the teacher takes for one of these classes are held back.
    """

    def __init__(
        self,
        teacher: AnsweringTeacher,
        pictures: torch.Tensor,
        *,
        size: tuple[int, int],
        num_classes: int,
        generator: torch.Generator,
        settings: PatchSettings,
    ) -> None:
        self.vaccine: ShufflingVaccine | None = None
        self.distrusted: tuple[int, ...] = ()
        shape = (pictures.shape[1], *size)
        settings = settings.fitted(shape, num_classes)
        self._teacher, self._settings, self._random = teacher, settings, generator
        self._cutter, self._size = PatchCutter(pictures, height=size[0], width=size[1]), size
        self._shape = shape
        capacity, device = settings.capacity, teacher.compute.device
        self.pool = ImagePool(capacity, shape, device)
        self._logits = torch.zeros(capacity, num_classes, device=device)
        self._suspicious = torch.zeros(capacity, dtype=torch.bool, device=device)
        self._weights: torch.Tensor | None = None
        self._labeller = Labeller(teacher)
        self._first = settings.first
        self._padding = max(1, min(size) // 8)
        self._given = 0

    def batches(self, student: nn.Module) -> Iterator[Batch | GeneratorStep]:
        """Balanced batches, with a pass of the teacher over new patches in between."""
        while True:
            if not self._given:
                yield from self._renew(student)
            if len(self.pool) < self._first:
                continue
            for _ in range(self._given, self._settings.student_steps):
                # Counted before it is given out: a run may be saved whenever a batch is out.
                self._given = (self._given + 1) % self._settings.student_steps
                images, logits = self.balanced(self._settings.batch_size)
                yield Batch(images, Answer(logits))

    def filled(self, renewals: int) -> Iterator[GeneratorStep]:
        """The first patches, and ``renewals`` times what happens between two rounds, without a student."""
        while len(self.pool) < self._first:
            yield self._label_more()
        for _ in range(renewals):
            yield from self._renew(None)

    def balanced(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """``(count, C, H, W)`` float images in [0, 1] from a filled pool, the classes in equal parts; their logits."""
        places = self._balanced(count)
        return self._teacher.compute.images(self.pool.at(places)).float() / 255, self._logits[places]

    def _renew(self, student: nn.Module | None) -> Iterator[GeneratorStep]:
        """What happens between two rounds of the student."""
        yield self._label_more()

    @torch.no_grad()
    def _label_more(self) -> GeneratorStep:
        """The teacher labels new patches: from the pictures or by mixing, by chance; large ones in portions."""
        count, filling = self._settings.drawn, len(self.pool) < self._first
        turn = int(torch.randint(2, (), generator=self._random))
        mixes = turn and len(self.pool) >= count
        for part in portions(count, self._size):
            self._store(self._mixed(part) if mixes else self._cutter.cut(part, self._random))
        return GeneratorStep({}, min(1.0, len(self.pool) / self._first) if filling else None)

    def _mixed(self, count: int) -> torch.Tensor:
        """``(count, C, H, W)`` float images in [0, 1], each of two of the pool."""
        pixels = self.pool.at(self._balanced(count)).float() / 255
        mixed = shift_and_flip(pixels, self._random, self._padding)
        return cutmix(jitter_colours(mixed, self._random), self._random)

    @torch.no_grad()
    def _store(self, patches: torch.Tensor, *, optimized: bool = False) -> None:
        """Has the teacher label ``(N, C, H, W)`` images in [0, 1] as the pool will hold them, and keeps both.

        Args:
            patches: The images.
            optimized: Whether their pixels were.
        """
        images = self._teacher.compute.images(patches.mul(255).round().div(255))
        logits, suspicious = self._labeller.label(images, self.vaccine, optimized=optimized)
        if optimized and self.distrusted:
            suspicious = suspicious | taken_for(logits, self.distrusted)
        places = self.pool.add(images)
        self._logits[places], self._suspicious[places] = logits, suspicious
        self._weights = None

    def _balanced(self, count: int) -> torch.Tensor:
        """Places in the pool, ``(count,)``, drawn so that the teacher's classes come equally often; none suspicious."""
        if self._weights is None:
            self._weights = self._weigh()
        try:
            chosen = torch.multinomial(self._weights, count, replacement=True, generator=self._random)
        except RuntimeError as error:
            if self._weights.any():
                raise
            raise RunFailedError(
                "No patch is left that the student may learn from.",
                why=f"All {len(self.pool)} were found suspicious by the vaccine or refused by the second opinion.",
                remedy="Try --picture with another picture, or --method zskt.",
            ) from error
        return sent(chosen, self._logits.device)

    def sizes(self) -> torch.Tensor:
        """``(K,)``: how many images of the pool that are not suspicious the teacher takes for each class."""
        held = len(self.pool)
        trusted = (~self._suspicious[:held]).float()
        return torch.bincount(self._logits[:held].argmax(dim=1), weights=trusted, minlength=self._logits.shape[1])

    def _weigh(self) -> torch.Tensor:
        """How often each place is to be drawn, on the CPU, where the drawing is done."""
        held = len(self.pool)
        least = max(1, round(held * self._settings.least_share))
        sizes = self.sizes().clamp_min(least)
        return (~self._suspicious[:held] / sizes[self._logits[:held].argmax(dim=1)]).cpu()

    def sample(self, count: int) -> torch.Tensor:
        """``(count, C, H, W)`` uint8 fresh patches."""
        parts = (self._cutter.cut(part, self._random) for part in portions(count, self._size))
        return torch.cat([(part * 255).round().to(torch.uint8) for part in parts])

    def restart_cycle(self) -> None:
        """Lets the next batch be the first of a cycle."""
        self._given = 0

    def state_dict(self) -> dict[str, Any]:
        """The pool with its labels, the place in the round and the random state; the pictures follow from the plan."""
        held = len(self.pool)
        return {
            "pool": self.pool.state_dict(),
            "logits": saved(self._logits[:held]),
            "suspicious": saved(self._suspicious[:held]),
            "given": self._given,
            "generator": self._random.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.pool.load_state_dict(state["pool"])
        self._logits = restored(self._logits, state["logits"])
        self._suspicious = restored(self._suspicious, state["suspicious"])
        self._given, self._weights = state["given"], None
        self._random.set_state(state["generator"])

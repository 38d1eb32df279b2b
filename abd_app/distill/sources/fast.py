"""``fast``: patches of unrelated pictures, turned into images that the teacher's BatchNorm statistics describe.

The losses are those of DeepInversion (Yin et al., "Dreaming to Distill", CVPR 2020) and CMI; the aim, a good student
from a few inversion steps an image, is that of Fang et al. ("Up to 100x Faster Data-Free Knowledge Distillation", AAAI
2022).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.batchnorm import StoredBatchNorm
from abd_app.distill.compute import parallel
from abd_app.distill.compute.device_memory import Memory, measured_portion, memory_of
from abd_app.distill.compute.microbatch import pieces_of
from abd_app.distill.compute.optimizers import give_gradients, make_adam
from abd_app.distill.compute.recorded import RecordedPass, small
from abd_app.distill.losses import kl_per_image
from abd_app.distill.observe import batchnorm_distances, frozen_batchnorm
from abd_app.distill.sources.augment import jitter_colours, shift_and_flip
from abd_app.distill.sources.base import GeneratorStep
from abd_app.distill.sources.ood import BalancedPatchSource, PatchSettings
from abd_app.errors import out_of_memory
from abd_app.teacher import Finding

_FEWEST = 2  # images that have BatchNorm statistics to compare
_SMALL_PX = 64


@dataclass(frozen=True, kw_only=True)
class FastSettings(PatchSettings):
    """Hyper-parameters of ``fast``: those of ``ood``, with other defaults, and of the inversion.

    Attributes:
        inverted: Images that are inverted between two rounds of the student (:func:`inverted_images`).
        inversion_steps: Steps for each of them.
        statistics: Weight of the BatchNorm distance.
        one_hot: Weight of the cross entropy to the wanted class.
        adversarial: Weight of the student's disagreement on images where both still agree.
        rate: Adam, in pixels of [0, 1].
    """

    batch_size: int = 128
    inverted: int = 256
    inversion_steps: int = 6
    statistics: float = 1.0
    one_hot: float = 1.0
    adversarial: float = 1.0
    rate: float = 0.04

    def fitted(self, shape: tuple[int, int, int], num_classes: int) -> Self:
        """Of what is inverted at most a quarter of the pool, too."""
        fitted = super().fitted(shape, num_classes)
        quarter = max(_FEWEST, fitted.capacity // 4) if fitted.capacity < self.capacity else self.inverted
        return replace(fitted, inverted=min(self.inverted, quarter))


def inverted_images(height: int, width: int) -> int:
    """How many are inverted at a time: of more than 64 by 64 pixels half as many, for the memory that they take."""
    return FastSettings.inverted if height * width <= _SMALL_PX**2 else FastSettings.inverted // 2


class InvertedPatchSource(BalancedPatchSource):
    """``ood``, and in between images of its pool that are moved towards the teacher's training data.

    An image of the pool, shifted, mirrored and recoloured, gets a class at random and a few Adam steps on its pixels
    towards the stored BatchNorm statistics, that class, and what the student does not know yet; the teacher then
    labels it, where there is a second opinion by the strict one, and it joins the pool.

    Deviations from Fang et al.: no generator is trained. An image starts from a patch of an unrelated picture, which
    has edges, textures and shading already, or from an earlier inverted one, so that few steps are enough; they start
    a generator from a meta-learned point. There is no prior for smoothness.

    Args: as for :class:`BalancedPatchSource`; the teacher must have BatchNorm statistics.
    """

    _settings: FastSettings
    _at_once: int | None = None
    """Images that memory holds, once it did not hold all."""
    _measured = False
    _inversion: Inversion | None = None
    """Of the last round, for the next."""

    def _renew(self, student: nn.Module | None) -> Iterator[GeneratorStep]:
        yield from super()._renew(student)
        if len(self.pool) >= self._first:
            yield from self._invert(student)

    def _invert(self, student: nn.Module | None) -> Iterator[GeneratorStep]:
        """Inverts some images, at once or in as large portions as memory holds; smaller ones from where it does not."""
        if not self._measured:
            self._measured = True
            self._measure(memory_of(self._teacher.compute.device), student)
        left = self._settings.inverted
        while left:
            count = -(-left // pieces_of(left, self._at_once, _FEWEST))
            try:
                yield from self._inverted(student, count)
            except RuntimeError as error:
                tried = min(count, self._at_once or count)
                if not out_of_memory(error) or tried <= _FEWEST or parallel.world_size() > 1:
                    raise
                self._at_once, self._inversion = max(_FEWEST, tried // 2), None
                self._tell("Memory ran out: ")
            else:
                left -= count

    def _measure(self, memory: Memory | None, student: nn.Module | None) -> None:
        """Finds out how many images memory holds at once, if the device says what it has."""
        if memory is None:
            return

        def attempt(count: int) -> None:
            start = torch.rand(count, *self._shape, device=self._teacher.compute.device)
            inversion = Inversion(self._teacher, student, start, replace(self._settings, inversion_steps=1))
            list(inversion.run(start, torch.zeros(count, dtype=torch.long)))

        fitting = max(_FEWEST, measured_portion(memory, self._settings.inverted, attempt))
        if fitting < self._settings.inverted:
            self._at_once = fitting
            self._tell("Measured before the first of them: ")

    def _tell(self, cause: str) -> None:
        title, whole = f"Images are inverted {self._at_once} at a time", self._settings.inverted
        detail = (
            f"{cause}{whole} do not fit the memory. Each portion is moved to have the teacher's statistics by itself."
        )
        self._teacher.microbatches.say(Finding("info", title, detail))

    def state_dict(self) -> dict[str, Any]:
        """As of the pool, and how many images memory holds."""
        return {**super().state_dict(), "at_once": self._at_once}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        super().load_state_dict(state)
        self._at_once, self._inversion = state.get("at_once"), None  # not in checkpoints of earlier versions
        self._measured = self._at_once is not None

    def _inverted(self, student: nn.Module | None, count: int) -> Iterator[GeneratorStep]:
        """Adam on the pixels of ``count`` images of the pool, which then are labelled and join it."""
        pixels, _ = self.balanced(count)
        start = jitter_colours(shift_and_flip(pixels, self._random, self._padding), self._random)
        wanted = torch.randint(self._logits.shape[1], (count,), generator=self._random)
        if self._inversion is None or not self._inversion.fits(student, start):
            self._inversion = Inversion(self._teacher, student, start, self._settings)
        yield from self._inversion.run(start, wanted)
        self._store(self._inversion.images.detach(), optimized=True)


class Inversion:
    """Moves images towards the teacher's training data. The same tensors serve every round, so that it can be recorded.

    Args:
        teacher: With BatchNorm statistics.
        student: Whose disagreement is asked for; ``None``: nobody's.
        like: ``(N, C, H, W)`` images.
        settings: Hyper-parameters.

    Attributes:
        images: ``(N, C, H, W)`` in [0, 1]; at the end of a round, the inverted ones.
    """

    def __init__(
        self, teacher: AnsweringTeacher, student: nn.Module | None, like: torch.Tensor, settings: FastSettings
    ) -> None:
        self._teacher, self._student, self._settings = teacher, student, settings
        self._opinion = teacher.second_opinion
        self.images = teacher.compute.images(torch.zeros_like(like)).requires_grad_()
        self._wanted = torch.zeros(len(like), dtype=torch.long, device=like.device)
        self._optimizer = make_adam([self.images], settings.rate, teacher.compute, betas=(0.5, 0.99))
        self._step = RecordedPass(self._descend, teacher.compute, allowed=teacher.recordable and small(like))

    def fits(self, student: nn.Module | None, start: torch.Tensor) -> bool:
        """Whether a round with this student and as many images can be its next."""
        same = student is self._student and self._teacher.second_opinion is self._opinion
        return same and start.shape == self.images.shape

    def run(self, start: torch.Tensor, wanted: torch.Tensor) -> Iterator[GeneratorStep]:
        """A round: from ``(N, C, H, W)`` images in [0, 1] towards ``(N,)`` class indices."""
        with torch.no_grad():
            self.images.copy_(start)
        self._wanted.copy_(wanted, non_blocking=True)
        for state in self._optimizer.state.values():  # every round begins with a new optimiser
            for value in state.values():
                value.zero_()
        names = ("statistics", "one_hot") if self._student is None else ("statistics", "one_hot", "adversarial")
        for _ in range(self._settings.inversion_steps):
            yield GeneratorStep(dict(zip(names, self._step(), strict=True)))

    def _descend(self) -> Sequence[torch.Tensor]:
        """One step; returns the weighted losses before it."""
        frozen = contextlib.nullcontext() if self._student is None else frozen_batchnorm(self._student)
        stored = StoredBatchNorm() if self.images.is_cuda else contextlib.nullcontext()
        with batchnorm_distances(self._teacher.network) as distances, frozen, stored:
            losses = torch.stack(list(self._losses(distances)))
        gradients = torch.autograd.grad(losses.sum(), [self.images])
        parallel.all_reduce_mean(gradients)
        give_gradients([self.images], gradients)
        self._optimizer.step()
        with torch.no_grad():
            self.images.clamp_(0, 1)
        return losses.detach().unbind()

    def _losses(self, distances: list[torch.Tensor]) -> Iterator[torch.Tensor]:
        """The weighted losses of a step; without a student none asks for its disagreement.

        Args:
            distances: Which the teacher's pass fills.
        """
        settings, answer = self._settings, self._teacher(self.images)
        yield settings.statistics * torch.stack(distances).sum()
        yield settings.one_hot * F.cross_entropy(answer.logits, self._wanted)
        if self._student is None:
            return
        with self._teacher.compute.autocast():
            reply = self._student(self.images)
        agrees = (reply.argmax(1) == answer.logits.argmax(1)).float()
        divergence = kl_per_image(reply, answer.logits) * answer.logits.shape[1]
        yield -settings.adversarial * (divergence * agrees).mean()

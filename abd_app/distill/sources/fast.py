"""``fast``: patches of unrelated pictures, turned into images that the teacher's BatchNorm statistics describe.

The losses are those of DeepInversion (Yin et al., "Dreaming to Distill", CVPR 2020) and CMI; the aim, a good student
from a few inversion steps an image, is that of Fang et al. ("Up to 100x Faster Data-Free Knowledge Distillation", AAAI
2022).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from abd_app.distill import parallel
from abd_app.distill.augment import jitter_colours, shift_and_flip
from abd_app.distill.losses import kl_per_image
from abd_app.distill.observe import batchnorm_distances, frozen_batchnorm
from abd_app.distill.sources.base import GeneratorStep
from abd_app.distill.sources.ood import BalancedPatchSource, PatchSettings

_FEWEST = 2  # images that have BatchNorm statistics to compare


@dataclass(frozen=True, kw_only=True)
class FastSettings(PatchSettings):
    """Hyper-parameters of ``fast``: those of ``ood``, with other defaults, and of the inversion.

    Attributes:
        inverted: Images that are inverted between two rounds of the student.
        inversion_steps: Steps for each of them.
        statistics: Weight of the BatchNorm distance.
        one_hot: Weight of the cross entropy to the wanted class.
        adversarial: Weight of the student's disagreement on images where both still agree.
        rate: Adam, in pixels of [0, 1].
    """

    batch_size: int = 128
    inverted: int = 128
    inversion_steps: int = 12
    statistics: float = 1.0
    one_hot: float = 1.0
    adversarial: float = 1.0
    rate: float = 0.04


class InvertedPatchSource(BalancedPatchSource):
    """``ood``, and in between images of its pool that are moved towards the teacher's training data.

    An image of the pool, shifted, mirrored and recoloured, gets a class at random and a few Adam steps on its pixels
    towards the stored BatchNorm statistics, that class, and what the student does not know yet; the teacher then
    labels it as any other, and it joins the pool.

    Deviations from Fang et al.: no generator is trained. An image starts from a patch of an unrelated picture, which
    has edges, textures and shading already, or from an earlier inverted one, so that few steps are enough; they start
    a generator from a meta-learned point. There is no prior for smoothness.

    Args: as of :class:`BalancedPatchSource`; the teacher must have BatchNorm statistics.
    """

    _settings: FastSettings
    _at_once: int | None = None
    """Images that memory holds, once it did not hold all."""

    def _renew(self, student: nn.Module | None) -> Iterator[GeneratorStep]:
        yield from super()._renew(student)
        if len(self.pool) >= self._first:
            yield from self._invert(student)

    def _invert(self, student: nn.Module | None) -> Iterator[GeneratorStep]:
        """Inverts some images; from now on half as many where memory does not hold them."""
        while True:
            count = self._at_once or self._settings.inverted
            try:
                yield from self._inverted(student, count)
            except torch.OutOfMemoryError:
                if count <= _FEWEST or parallel.processes() > 1:
                    raise
                self._at_once = count // 2
            else:
                return

    def _inverted(self, student: nn.Module | None, count: int) -> Iterator[GeneratorStep]:
        """Adam on the pixels of ``count`` images of the pool, which then are labelled and join it."""
        settings = self._settings
        pixels, _ = self.balanced(count)
        start = jitter_colours(shift_and_flip(pixels, self._random, self._padding), self._random)
        wanted = torch.randint(self._logits.shape[1], (count,), generator=self._random).to(start.device)
        images = self._teacher.compute.images(start).clone().requires_grad_()
        optimizer = torch.optim.Adam([images], settings.rate, betas=(0.5, 0.99), fused=True)
        frozen = contextlib.nullcontext() if student is None else frozen_batchnorm(student)
        with batchnorm_distances(self._teacher.network) as distances, frozen:
            for _ in range(settings.inversion_steps):
                distances.clear()
                losses = self._losses(student, images, wanted, distances)
                gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), [images])
                parallel.agree(gradients)
                (images.grad,) = gradients
                optimizer.step()
                with torch.no_grad():
                    images.clamp_(0, 1)
                yield GeneratorStep({name: loss.detach() for name, loss in losses.items()})
        self._store(images.detach())

    def _losses(
        self, student: nn.Module | None, images: torch.Tensor, wanted: torch.Tensor, distances: list[torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """The weighted losses of a step by name; without a student none asks for its disagreement."""
        settings = self._settings
        answer = self._teacher(images)
        losses = {
            "statistics": settings.statistics * torch.stack(distances).sum(),
            "one_hot": settings.one_hot * F.cross_entropy(answer.logits, wanted),
        }
        if student is not None:
            with self._teacher.compute.autocast():
                reply = student(images)
            agrees = (reply.argmax(1) == answer.logits.argmax(1)).float()
            divergence = kl_per_image(reply, answer.logits) * answer.logits.shape[1]
            losses["adversarial"] = -settings.adversarial * (divergence * agrees).mean()
        return losses

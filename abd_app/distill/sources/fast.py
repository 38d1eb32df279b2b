"""``fast``: images that the teacher's own BatchNorm statistics describe, from a generator that is kept warm.

The idea of Fang et al. ("Up to 100x Faster Data-Free Knowledge Distillation", AAAI 2022): what a generator learned for
one batch is a good start for the next, so a few steps a batch are enough. Losses as in CMI and DeepInversion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from abd_app.distill import parallel
from abd_app.distill.answering import Answer, AnsweringTeacher
from abd_app.distill.augment import shift_and_flip
from abd_app.distill.generators import PixelGenerator
from abd_app.distill.labelling import label
from abd_app.distill.losses import kl_per_image
from abd_app.distill.observe import batchnorm_distances, frozen_batchnorm
from abd_app.distill.pool import ImagePool, affordable
from abd_app.distill.sources.base import Batch, GeneratorStep
from abd_app.distill.vaccine import ShufflingVaccine
from abd_app.teacher import ImageSpec


@dataclass(frozen=True, kw_only=True)
class FastSettings:
    """Hyper-parameters of ``fast``.

    Attributes:
        batch_size: Images a student step.
        drawn: Images a round.
        generator_steps: Steps of the generator a round.
        student_steps: Steps of the student a round.
        warm_up_rounds: Rounds before the student starts; its disagreement is not asked for until then.
        statistics: Weight of the BatchNorm distance.
        one_hot: Weight of the cross entropy to the wanted class.
        adversarial: Weight of the student's disagreement on images where both still agree.
        rate: Adam, for the generator; ``noise_rate`` for z.
        noise: Length of z.
        noise_rate: Adam, for z.
        capacity: Images in the pool.
    """

    batch_size: int = 128
    drawn: int = 200
    generator_steps: int = 8
    student_steps: int = 40
    warm_up_rounds: int = 3
    statistics: float = 1.0
    one_hot: float = 0.5
    adversarial: float = 1.0
    rate: float = 2e-3
    noise: int = 128
    noise_rate: float = 1e-2
    capacity: int = 20_000


class WarmInversionSource:
    """Rounds of a few generator steps and many student steps on the pool of all images so far.

    Deviations from Fang et al.: one generator carries over between rounds instead of a meta-learned start; it is told
    the wanted class by an embedding added to the noise (as NAYER, Tran et al., CVPR 2024, conditions on labels);
    nothing is read back from the device within a round, so the last images of a round enter the pool rather than the
    best. Images that the vaccine finds suspicious are kept out of the pool.

    Args:
        teacher: Answers; must have BatchNorm statistics.
        spec: Image size and classes.
        generator: CPU generator of all randomness.
        settings: Hyper-parameters.
    """

    def __init__(
        self, teacher: AnsweringTeacher, spec: ImageSpec, *, generator: torch.Generator, settings: FastSettings
    ) -> None:
        self.vaccine: ShufflingVaccine | None = None
        self._teacher, self._settings, self._random = teacher, settings, generator
        self._device = teacher.compute.device
        self._num_classes = spec.num_classes
        self._padding = max(1, round(min(spec.height, spec.width) / 8))
        shape = (spec.channels, spec.height, spec.width)
        self.pool = ImagePool(affordable(settings.capacity, shape, least=4 * settings.drawn), shape, self._device)
        self.generator = teacher.compute.place(PixelGenerator(*shape, noise=settings.noise)).train()
        self.classes = nn.Embedding(spec.num_classes, settings.noise).to(self._device)
        self._optimizer = torch.optim.Adam(self._parameters(), settings.rate, betas=(0.5, 0.999), fused=True)
        self._rounds = 0
        self._sifted = False
        self._given = 0

    def batches(self, student: nn.Module) -> Iterator[Batch | GeneratorStep]:
        """Endless rounds."""
        while True:
            if not self._given:
                yield from self._draw_round(student)
                self._rounds += 1
            if self._rounds < self._settings.warm_up_rounds:
                continue
            for _ in range(self._given, self._settings.student_steps):
                # Counted before it is given out: a run may be saved whenever a batch is out.
                self._given = (self._given + 1) % self._settings.student_steps
                pixels = self.pool.sample(self._settings.batch_size, self._random).float() / 255
                images = self._teacher.compute.images(shift_and_flip(pixels, self._random, self._padding))
                yield Batch(images, Answer(label(self._teacher, images)[0]))

    def _draw_round(self, student: nn.Module) -> Iterator[GeneratorStep]:
        settings = self._settings
        noise = torch.randn(settings.drawn, settings.noise, generator=self._random).to(self._device).requires_grad_()
        labels = torch.randint(self._num_classes, (settings.drawn,), generator=self._random).to(self._device)
        noise_optimizer = torch.optim.Adam([noise], settings.noise_rate, betas=(0.5, 0.999), fused=True)
        with batchnorm_distances(self._teacher.network) as distances, frozen_batchnorm(student):
            for _ in range(settings.generator_steps):
                distances.clear()
                losses, images = self._losses(student, noise, labels, distances)
                parameters = [noise, *self._parameters()]
                total = torch.stack(list(losses.values())).sum()
                gradients = torch.autograd.grad(total, parameters)
                parallel.agree(gradients)
                for parameter, gradient in zip(parameters, gradients, strict=True):
                    parameter.grad = gradient
                self._optimizer.step()
                noise_optimizer.step()
                yield GeneratorStep({name: loss.detach() for name, loss in losses.items()})
        self._keep(images.detach())

    def _keep(self, images: torch.Tensor) -> None:
        """Adds float images in [0, 1] to the pool, without suspicious ones once there is a vaccine."""
        if self.vaccine is None:
            self.pool.add(images)
            return
        if not self._sifted:
            self.pool.retain(torch.cat([~self._suspicious(part.float() / 255) for part in self.pool.parts()]))
            self._sifted = True
        self.pool.add(images[~self._suspicious(images)])

    def _suspicious(self, images: torch.Tensor) -> torch.Tensor:
        return label(self._teacher, images, self.vaccine)[1]

    def _losses(
        self, student: nn.Module, noise: torch.Tensor, labels: torch.Tensor, distances: list[torch.Tensor]
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The weighted losses by name, and the images ``(N, C, H, W)`` before augmentation."""
        settings = self._settings
        with self._teacher.compute.autocast():
            images = self.generator(noise + self.classes(labels)).float()
        shown = self._teacher.compute.images(shift_and_flip(images, self._random, self._padding))
        answer = self._teacher(shown)
        losses = {
            "statistics": settings.statistics * torch.stack(distances).sum(),
            "one_hot": settings.one_hot * F.cross_entropy(answer.logits, labels),
        }
        with self._teacher.compute.autocast():
            if self._rounds >= settings.warm_up_rounds:
                reply = student(shown)
                agrees = (reply.argmax(1) == answer.logits.argmax(1)).float()
                divergence = kl_per_image(reply, answer.logits) * self._num_classes
                losses["adversarial"] = -settings.adversarial * (divergence * agrees).mean()
        return losses, images

    def _parameters(self) -> list[nn.Parameter]:
        return [*self.generator.parameters(), *self.classes.parameters()]

    def sample(self, count: int) -> torch.Tensor:
        """``(count, C, H, W)`` uint8 images of the pool, or of the cold generator while the pool is empty."""
        if len(self.pool):
            return self.pool.sample(count, self._random)
        with torch.no_grad(), self._teacher.compute.autocast():
            noise = torch.randn(count, self._settings.noise, generator=self._random).to(self._device)
            images: torch.Tensor = self.generator(noise)
        return (images.float() * 255).round().to(torch.uint8)

    def state_dict(self) -> dict[str, Any]:
        """Generator, class embedding, optimiser, pool, round and the state of the random generator."""
        return {
            "network": self.generator.state_dict(),
            "classes": self.classes.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "pool": self.pool.state_dict(),
            "rounds": self._rounds,
            "sifted": self._sifted,
            "given": self._given,
            "generator": self._random.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.generator.load_state_dict(state["network"])
        self.classes.load_state_dict(state["classes"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.pool.load_state_dict(state["pool"])
        self._rounds, self._sifted, self._given = state["rounds"], state["sifted"], state["given"]
        self._random.set_state(state["generator"])

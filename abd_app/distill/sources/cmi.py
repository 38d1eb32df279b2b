"""``cmi``: images that match the teacher's BatchNorm statistics and differ from each other (Fang et al., 2021)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import sent
from abd_app.distill.defences.vaccine import ShufflingVaccine
from abd_app.distill.losses import kl_per_image
from abd_app.distill.observe import batchnorm_distances, batchnorm_readings, frozen_batchnorm
from abd_app.distill.sources.augment import resized_crops, shift_and_flip
from abd_app.distill.sources.base import Batch, GeneratorStep
from abd_app.distill.sources.contrastive import FeatureBank, ProjectionHead, contrastive_loss
from abd_app.distill.sources.generators import PixelGenerator
from abd_app.distill.sources.pool import ImagePool, affordable
from abd_app.networks.batchnorm import tracked_batchnorms
from abd_app.teacher import ImageSpec


@dataclass(frozen=True, kw_only=True)
class CmiSettings:
    """Hyper-parameters of ``cmi``; the defaults are the published ones, as ABD uses them.

    Attributes:
        batch_size: Images a student step.
        drawn: Images an epoch.
        generator_steps: Steps of the generator an epoch.
        student_steps: Steps of the student an epoch.
        statistics: Weight of the BatchNorm distance.
        one_hot: Weight of the cross entropy to the wanted class.
        adversarial: Weight of the student's disagreement on images where both still agree.
        contrastive: Weight of the contrastive loss.
        temperature: Of the contrastive loss.
        rate: Adam, for generator, z and projection head.
        noise: Length of z.
        features: Maps of the generator at its lowest resolution.
        bank: Images whose features are kept.
        negatives: Of these, drawn at every step.
        smallest_area: Least share of an image that its local view shows.
        vaccine: Weight of the vaccine.
        capacity: Images in the pool: all of 200 epochs.
    """

    batch_size: int = 128
    drawn: int = 256
    generator_steps: int = 200
    student_steps: int = 400
    statistics: float = 1.0
    one_hot: float = 1.0
    adversarial: float = 0.5
    contrastive: float = 0.8
    temperature: float = 0.1
    rate: float = 1e-3
    noise: int = 256
    features: int = 128
    bank: int = 40_960
    negatives: int = 4096
    smallest_area: float = 0.25
    vaccine: float = 0.1
    capacity: int = 51_200


class ContrastiveInversionSource:
    """Epochs of many generator steps for one batch of images, then many student steps on all images so far.

    Every epoch starts a new generator and new noise; of its steps the images with the smallest loss enter the pool.
    What tells images apart is learned across epochs: the projection head and the bank of features stay. The features
    of an image are the means over its pixels of what every BatchNorm layer of the teacher is given.

    Kept of the authors' code on purpose: the vaccine's divergence is averaged over classes too (K times smaller than
    the textbook's, section 4.1 of ABD), only images whose class survives count, the bank is never cleaned, and the
    generator has no gradient clip.

    Mended, in paper mode too: Self-Retrospection goes on with the pool of the run, where the authors' code starts it
    on an empty one; the vaccine's layers are chosen by structure and not by name; it is checked on synthetic
    images, once a tenth of the run has drawn them (5,120 of 200 epochs), instead of clean and triggered test images,
    and acts from then on; a continued run keeps it; the last student is the result, not the best on test labels.

    Deviations without a change of method: images and features live on the device, not in files; the bank starts empty
    instead of with random numbers; borders are mirrored when images are shifted; the student's rate falls at
    every step instead of every epoch. At 32 pixels the generator has the published layers; larger images take more
    doublings, each with half the maps. Where images or features would take more than a gibibyte the oldest give way;
    those of the last epoch stay.

    Args:
        teacher: Answers; must have BatchNorm statistics.
        spec: Image size and classes.
        generator: CPU generator of all randomness, the weights of every new network included.
        settings: Hyper-parameters.
    """

    def __init__(
        self, teacher: AnsweringTeacher, spec: ImageSpec, *, generator: torch.Generator, settings: CmiSettings
    ) -> None:
        self.vaccine: ShufflingVaccine | None = None
        self._teacher, self._settings, self._random = teacher, settings, generator
        self._device = teacher.compute.device
        self._num_classes = spec.num_classes
        self._padding = max(1, round(min(spec.height, spec.width) / 8))
        self._shape = (spec.channels, spec.height, spec.width)
        capacity = affordable(settings.capacity, math.prod(self._shape), least=settings.drawn)
        self.pool = ImagePool(capacity, self._shape, self._device)
        features = sum(layer.num_features for layer in tracked_batchnorms(teacher.network))
        self.bank = FeatureBank(settings.bank, features, least=settings.drawn, device=self._device)
        self.head = ProjectionHead(features).to(self._device)
        self._head_optimizer = torch.optim.Adam(self.head.parameters(), settings.rate)
        self._given = 0

    def batches(self, student: nn.Module) -> Iterator[Batch | GeneratorStep]:
        """Endless epochs; a source that was saved among the student steps of one goes on with the next of them."""
        while True:
            if self._given == 0:
                yield from self._draw_epoch(student)
            while self._given < self._settings.student_steps:
                self._given += 1  # before the batch is out: a run may be saved whenever one is
                yield self._lesson()
            self._given = 0

    def _lesson(self) -> Batch:
        pixels = self.pool.sample(self._settings.batch_size, self._random).float() / 255
        images = self._teacher.compute.images(shift_and_flip(pixels, self._random, self._padding))
        with torch.no_grad():
            return Batch(images, self._teacher.label(images, optimized=True))

    def _draw_epoch(self, student: nn.Module) -> Iterator[GeneratorStep]:
        """A new generator learns to draw one batch; the best images it drew on the way enter the pool."""
        settings = self._settings
        generator = self._new_generator()
        noise = sent(torch.randn(settings.drawn, settings.noise, generator=self._random), self._device).requires_grad_()
        labels = sent(torch.randint(self._num_classes, (settings.drawn,), generator=self._random), self._device)
        drawing = [noise, *generator.parameters()]
        optimizer = torch.optim.Adam(drawing, settings.rate, betas=(0.5, 0.999))
        best = _Best(self._device)
        with frozen_batchnorm(student):
            for _ in range(settings.generator_steps):
                with self._teacher.compute.autocast():
                    images = generator(noise).float()
                losses, features = self._losses(student, images, labels)
                total = torch.stack(list(losses.values())).sum()
                best.keep(total.detach(), images.detach(), features)
                parameters = [*drawing, *self.head.parameters()]
                for parameter, gradient in zip(parameters, torch.autograd.grad(total, parameters), strict=True):
                    parameter.grad = gradient
                optimizer.step()
                self._head_optimizer.step()
                yield GeneratorStep({name: loss.detach() for name, loss in losses.items()})
        self.pool.add(best.images)
        self.bank.add(best.features)

    def _losses(
        self, student: nn.Module, images: torch.Tensor, labels: torch.Tensor
    ) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
        """The weighted losses by name, and the ``(N, features)`` features of the global views, without a graph."""
        settings, compute = self._settings, self._teacher.compute
        network = self._teacher.network
        shown = compute.images(shift_and_flip(images, self._random, self._padding))
        with batchnorm_distances(network) as distances, batchnorm_readings(network, _image_means) as global_means:
            answer = self._teacher(shown)
        with batchnorm_readings(network, _image_means) as local_means:
            self._teacher(compute.images(resized_crops(images, self._random, smallest_area=settings.smallest_area)))
        features = torch.cat(global_means, dim=1).detach()
        losses = {
            "statistics": settings.statistics * torch.stack(distances).sum(),
            "one_hot": settings.one_hot * F.cross_entropy(answer.logits, labels),
            "contrastive": settings.contrastive * self._contrast(torch.cat(local_means, dim=1), features),
        }
        with compute.autocast():
            reply = student(shown)
            agrees = (reply.argmax(1) == answer.logits.argmax(1)).float()
            divergence = kl_per_image(reply, answer.logits) * self._num_classes
            losses["adversarial"] = -settings.adversarial * (divergence * agrees).mean()
            if self.vaccine is not None:
                losses["vaccine"] = -settings.vaccine * self.vaccine.penalty(shown, answer)
        return losses, features

    def _contrast(self, local_features: torch.Tensor, global_features: torch.Tensor) -> torch.Tensor:
        negatives = self.bank.sample(self._settings.negatives, self._random)
        with torch.no_grad():
            others = self.head(torch.cat([global_features, negatives]))
        count = len(global_features)
        return contrastive_loss(self.head(local_features), others[:count], others[count:], self._settings.temperature)

    def _new_generator(self) -> PixelGenerator:
        noise, features = self._settings.noise, self._settings.features
        seed = int(torch.randint(2**31, (), generator=self._random))
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            network = PixelGenerator(*self._shape, noise=noise, features=features, halve_every=1, standardise=False)
        return self._teacher.compute.place(network).train()

    @torch.no_grad()
    def sample(self, count: int) -> torch.Tensor:
        """``(count, C, H, W)`` uint8 images of the pool, or of an untrained generator while the pool is empty."""
        if len(self.pool):
            return self.pool.sample(count, self._random)
        noise = sent(torch.randn(count, self._settings.noise, generator=self._random), self._device)
        with self._teacher.compute.autocast():
            images: torch.Tensor = self._new_generator()(noise)
        return (images.float() * 255).round().to(torch.uint8)

    def restart_cycle(self) -> None:
        """Lets the next batch be the first of a cycle."""
        self._given = 0

    def state_dict(self) -> dict[str, Any]:
        """Pool, bank, head, the student steps given out in this epoch and the state of the random generator."""
        return {
            "pool": self.pool.state_dict(),
            "bank": self.bank.state_dict(),
            "head": self.head.state_dict(),
            "head_optimizer": self._head_optimizer.state_dict(),
            "given": self._given,
            "generator": self._random.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.pool.load_state_dict(state["pool"])
        self.bank.load_state_dict(state["bank"])
        self.head.load_state_dict(state["head"])
        self._head_optimizer.load_state_dict(state["head_optimizer"])
        self._given = state["given"]
        self._random.set_state(state["generator"])


class _Best:
    """The images of the smallest loss so far, chosen on the device so that nothing has to be read back."""

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.full((), torch.inf, device=device)
        self.images = self.features = torch.empty(0, device=device)

    def keep(self, loss: torch.Tensor, images: torch.Tensor, features: torch.Tensor) -> None:
        better = loss < self._loss
        first = not len(self.images)
        self.images = images if first else torch.where(better, images, self.images)
        self.features = features if first else torch.where(better, features, self.features)
        self._loss = torch.where(better, loss, self._loss)


def _image_means(layer: _BatchNorm, activations: torch.Tensor) -> torch.Tensor:
    """``(N, C, H, W)`` -> ``(N, C)``: what tells one image from another at this layer."""
    return activations.float().mean(dim=(2, 3))

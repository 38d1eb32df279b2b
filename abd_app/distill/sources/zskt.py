"""``zskt``: a generator that looks for images on which student and teacher disagree (Micaelli & Storkey, 2019)."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from abd_app.distill.answering import Answer, AnsweringTeacher
from abd_app.distill.compute import parallel
from abd_app.distill.compute.device import sent
from abd_app.distill.compute.optimizers import give_gradients, make_adam, restore_optimizer
from abd_app.distill.compute.recorded import RecordedPass
from abd_app.distill.defences.vaccine import ShufflingVaccine
from abd_app.distill.losses import kl_mean
from abd_app.distill.sources.base import Batch, GeneratorStep
from abd_app.distill.sources.generators import ZsktGenerator
from abd_app.teacher import ImageSpec

STUDENT_STEPS = 10
BATCH_SIZE, NOISE = 128, 100
GENERATOR_RATE, CLIP = 1e-3, 5.0


class AdversarialSource:
    """One pseudo-batch is one step of the generator and ten of the student on the same noise, as published.

    The generator does not change during the ten student steps, so its images and the teacher's answer are computed once
    per pseudo-batch and given out ten times; the authors' code computes both again at each of the eleven steps. The
    numbers are the same (BatchNorm in the generator normalises by the batch).

    Args:
        teacher: Answers; with its stages recorded where attention transfer is wanted.
        spec: Image size and normalisation; the generator draws in the teacher's normalised space.
        generator: CPU generator of the noise.
        pseudo_batches: Length of the cosine schedule.
        vaccine_weight: Of the vaccine in the generator's loss (paper: 0.1).
        batch_size: Images of a pseudo-batch.
    """

    def __init__(
        self,
        teacher: AnsweringTeacher,
        spec: ImageSpec,
        *,
        generator: torch.Generator,
        pseudo_batches: int,
        vaccine_weight: float = 0.1,
        batch_size: int = BATCH_SIZE,
    ) -> None:
        self.vaccine: ShufflingVaccine | None = None
        self._teacher = teacher
        self._noise = generator
        self._vaccine_weight, self._batch_size = vaccine_weight, batch_size
        self._drawn = torch.empty(0, NOISE)
        self._given = 0
        device = teacher.compute.device
        self.generator = teacher.compute.place(
            ZsktGenerator(spec.channels, spec.height, spec.width, noise=NOISE)
        ).train()
        self._optimizer = make_adam(self.generator.parameters(), GENERATOR_RATE, teacher.compute)
        self._step: tuple[tuple[object, ...], RecordedPass] | None = None
        self._answered = RecordedPass(self._answer, teacher.compute, allowed=teacher.recordable)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, max(1, pseudo_batches))
        self._mean = torch.tensor(spec.mean, device=device).view(1, -1, 1, 1)
        self._std = torch.tensor(spec.std, device=device).view(1, -1, 1, 1)

    def batches(self, student: nn.Module) -> Iterator[Batch | GeneratorStep]:
        """Endless pseudo-batches: a generator step, then the same batch ten times."""
        # All is noted down before a step or a batch is given out: a run may be saved whenever one is out.
        while True:
            if not self._given:
                noise = torch.randn(self._batch_size, NOISE, generator=self._noise)
                self._drawn = sent(noise, self._teacher.compute.device)
                losses = self._step_against(student)(self._drawn)
                self._schedule.step()
                yield GeneratorStep(dict(zip(("disagreement", "vaccine"), losses, strict=False)))
            images, logits, *blocks = self._answered(self._drawn)
            answer = Answer(logits, tuple(blocks))
            for _ in range(self._given, STUDENT_STEPS):
                self._given = (self._given + 1) % STUDENT_STEPS
                yield Batch(images, answer)

    def draw(self, noise: torch.Tensor) -> torch.Tensor:
        """``(N, 100)`` noise -> ``(N, C, H, W)`` images, unbounded, in pixel scale."""
        with self._teacher.compute.autocast():
            normalised = self.generator(noise)
        return self._teacher.compute.images(normalised.float() * self._std + self._mean)

    def _step_against(self, student: nn.Module) -> RecordedPass:
        """A step of the generator: that of last time, unless the vaccine or a second opinion has come since."""
        networks = student, self.vaccine, self._teacher.second_opinion
        if self._step is None or self._step[0] != networks:
            run = functools.partial(self._descend, student)
            self._step = networks, RecordedPass(run, self._teacher.compute, allowed=self._teacher.recordable)
        return self._step[1]

    @torch.no_grad()
    def _answer(self, noise: torch.Tensor) -> Sequence[torch.Tensor]:
        """Images, the teacher's logits, and the outputs of its stages."""
        images = self.draw(noise)
        answer = self._teacher.label(images, optimized=True)
        return images, answer.logits, *answer.blocks

    def _descend(self, student: nn.Module, noise: torch.Tensor) -> Sequence[torch.Tensor]:
        """One step of the generator; returns the disagreement and, with the vaccine, its penalty."""
        images = self.draw(noise)
        # A disagreement with anything but labels could not be learned away.
        answer = self._teacher.label(images, optimized=True)
        with self._teacher.compute.autocast():
            disagreement = kl_mean(student(images), answer.logits)
        losses, loss = [disagreement.detach()], -disagreement
        if self.vaccine is not None:
            with self._teacher.compute.autocast():
                penalty = self.vaccine.penalty(images, answer)
            losses.append(penalty.detach())
            loss = loss - self._vaccine_weight * penalty
        parameters = list(self.generator.parameters())
        # Only the generator's gradients: the student's own optimiser must not see this pass.
        gradients = torch.autograd.grad(loss, parameters)
        parallel.all_reduce_mean(gradients)
        give_gradients(parameters, gradients)
        nn.utils.clip_grad_norm_(parameters, CLIP)
        self._optimizer.step()
        return losses

    @torch.no_grad()
    def sample(self, count: int) -> torch.Tensor:
        """``(count, C, H, W)`` uint8 images, clipped to the pixel box."""
        noise = sent(torch.randn(count, NOISE, generator=self._noise), self._teacher.compute.device)
        parts = (self.draw(part) for part in noise.split(self._batch_size))
        return torch.cat([(part.clamp(0, 1) * 255).round().to(torch.uint8) for part in parts])

    def restart_cycle(self) -> None:
        """Lets the next batch be the first of a cycle."""
        self._given = 0

    def state_dict(self) -> dict[str, Any]:
        """Generator, optimiser, schedule, the noise of the round, the place in it and the state of the noise."""
        return {
            "network": self.generator.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
            "drawn": self._drawn.clone(),
            "given": self._given,
            "generator": self._noise.get_state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.generator.load_state_dict(state["network"])
        restore_optimizer(self._optimizer, state["optimizer"])
        self._step = None
        self._answered.forget()
        self._schedule.load_state_dict(state["schedule"])
        self._drawn, self._given = state["drawn"].to(self._teacher.compute.device), state["given"]
        self._noise.set_state(state["generator"])

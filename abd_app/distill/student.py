"""The student: what learns, and how it takes a step."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from abd_app.distill.compute import parallel
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.compute.muon import MuonAdam, inner_convolutions
from abd_app.distill.compute.optimizers import make_adam, make_rate, restore_optimizer, set_rate
from abd_app.distill.compute.recorded import RecordedPass
from abd_app.distill.compute.shared_batchnorm import SharedBatchNorm
from abd_app.distill.losses import attention_transfer, distillation_loss, kl_per_image, suspicious_mean
from abd_app.distill.observe import recorded_outputs
from abd_app.distill.recipe import Recipe
from abd_app.distill.sources.base import Batch
from abd_app.networks.catalog import stage_names
from abd_app.networks.pixels import PixelNetwork


class Student:
    """A network, its optimiser and the loss that pulls it to the teacher.

    Args:
        network: ``(N, C, H, W)`` images in [0, 1] -> logits, on the device of ``compute``.
        compute: Device and precision.
        recipe: Hyper-parameters.
        block_names: Stages that match the teacher's one to one; empty: no attention transfer.

    Attributes:
        network: As given, in training mode.
        microbatches: How many images it sees at a time.
    """

    def __init__(self, network: nn.Module, compute: Compute, recipe: Recipe, block_names: tuple[str, ...] = ()) -> None:
        self.network = network.train()
        self._compute, self._recipe = compute, recipe
        self._block_names = block_names if recipe.attention else ()
        self.restart_optimizer()
        self.microbatches = Microbatches(
            compute,
            "The student learns from",
            "The gradient is that of the whole batch; BatchNorm normalises by the statistics of each portion.",
            reserved_bytes=3 * sum(parameter.numel() * parameter.element_size() for parameter in network.parameters()),
            fewest=2,
        )

    @property
    def transfers_attention(self) -> bool:
        """Whether it learns where the teacher's stages respond, too."""
        return bool(self._block_names)

    def learn(self, batch: Batch, step: int) -> torch.Tensor:
        """One optimiser step on a batch; returns the distillation loss before it. ``step`` counts from 0."""
        if batch.suspicious is None and self.microbatches.most is None:
            maps = batch.answer.attention if self._block_names else ()
            set_rate(self._optimizer, self.rate(step))
            replayed = self._whole_step.replay(batch.images, batch.answer.logits, *maps)
            if replayed is not None:
                return replayed[0]
            self._optimizer.zero_grad()  # what a recording that failed has left was never computed
        else:
            self._whole_step.forget()
        loss = self.add_gradient(batch)
        self.apply_gradients(step)
        return loss

    def add_gradient(self, batch: Batch) -> torch.Tensor:
        """Adds the gradient of the distillation loss, in as many microbatches as memory asks for; returns the loss.

        Of several processes each adds the gradient of its own slice.
        """
        buffers = list(self.network.buffers())
        before = [buffer.clone() for buffer in buffers]

        def run(part: slice) -> torch.Tensor:
            with SharedBatchNorm():
                loss = self.loss(batch, part)
                loss.backward()
            return loss.detach()

        def undo() -> None:
            self._optimizer.zero_grad()
            for buffer, value in zip(buffers, before, strict=True):
                buffer.copy_(value)

        loss = torch.stack(self.microbatches.over(len(batch.images), run, undo)).sum()
        parallel.all_reduce_sum([loss])
        return loss

    def loss(self, batch: Batch, part: slice | None = None) -> torch.Tensor:
        """Distillation loss of a batch, a float32 scalar with a graph.

        Args:
            batch: The batch.
            part: Only these images' share of it; the shares of all parts add up to the loss of the batch.
        """
        among, count = batch.suspicious, len(batch.images)
        if part is not None and part != slice(0, count):
            batch = batch.part(part)
        fraction = len(batch.images) / count
        maps = batch.answer.attention if self._block_names else ()
        per_image, transfer = self._compare(batch.images, batch.answer.logits, *maps)
        loss = suspicious_mean(per_image, batch.suspicious, self._recipe.vaccine_weight, among)
        loss = loss * fraction if among is None else loss
        return loss + fraction * transfer

    def _compare(
        self, images: torch.Tensor, answers: torch.Tensor, *maps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The divergence from the teacher's logits for each image, ``(N,)``, and the weighted attention transfer."""
        recipe = self._recipe
        with recorded_outputs(self.network, self._block_names) as blocks, self._compute.autocast():
            logits = self.network(images)
        divergence = kl_per_image if recipe.loss == "mean" else distillation_loss
        per_image = divergence(logits, answers, recipe.temperature)
        return per_image, recipe.attention * attention_transfer(blocks, maps)

    def _learn_whole(self, *batch: torch.Tensor) -> tuple[torch.Tensor]:
        """A step on a whole batch of trusted images, as it can be recorded: images, answers, attention maps."""
        per_image, transfer = self._compare(*batch)
        loss = per_image.mean() + transfer
        loss.backward()
        self._descend(clip=True)
        return (loss.detach(),)

    def apply_gradients(self, step: int, *, clip: bool = True) -> None:
        """One optimiser step with the gradients that have been added up; ``step`` counts from 0 and sets the rate."""
        parallel.all_reduce_sum(
            [parameter.grad for parameter in self.network.parameters() if parameter.grad is not None]
        )
        set_rate(self._optimizer, self.rate(step))
        self._descend(clip=clip)

    def _descend(self, *, clip: bool) -> None:
        if clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self._recipe.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def rate(self, step: int) -> float:
        """Learning rate at ``step``: a linear rise, then a cosine to 0; a second one for retrospection's own rate."""
        recipe = self._recipe
        if (
            recipe.retrospection != "none"
            and recipe.retrospection_rate is not None
            and step >= recipe.retrospection_step
        ):
            rest = recipe.steps - recipe.retrospection_step
            return recipe.retrospection_rate * _cosine((step - recipe.retrospection_step) / rest)
        rise = recipe.warm_up * recipe.steps
        if step < rise:
            return recipe.rate * (step + 1) / (rise + 1)
        return recipe.rate * _cosine((step - rise) / max(1.0, recipe.steps - rise))

    def restart_optimizer(self) -> None:
        """Forgets momenta, as the authors do when Self-Retrospection resumes from the plain student."""
        self._optimizer = self._make_optimizer(self._recipe.rate)
        self._whole_step = RecordedPass(self._learn_whole, self._compute)

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimiser."""
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "at_a_time": self.microbatches.most,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.network.load_state_dict(state["network"])
        self.restart_optimizer()
        if isinstance(self._optimizer, MuonAdam):
            self._optimizer.load_state_dict(state["optimizer"])
        else:
            restore_optimizer(self._optimizer, state["optimizer"])
        self.microbatches.restore(state.get("at_a_time"))  # not in checkpoints of earlier versions

    def _make_optimizer(self, rate: float) -> torch.optim.Optimizer | MuonAdam:
        parameters = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        if self._recipe.optimizer == "sgd":
            decay, nesterov = self._recipe.weight_decay, self._recipe.nesterov
            start = make_rate(rate, self._compute)
            return torch.optim.SGD(parameters, start, momentum=0.9, weight_decay=decay, nesterov=nesterov, fused=True)
        if self._recipe.optimizer == "muon" and inner_convolutions(self.network):
            return MuonAdam(self.network, rate, self._compute, factor=self._recipe.muon_factor)
        return make_adam(parameters, rate, self._compute)


def matching_stages(
    student: PixelNetwork, teacher: nn.Module, teacher_names: tuple[str, ...], example: torch.Tensor
) -> tuple[str, ...]:
    """The student's stages, if they and the teacher's pair up: as many, with the same spatial sizes; else none.

    Args:
        student: Whose architecture may name its stages.
        teacher: Takes the same images.
        teacher_names: The modules that are its stages.
        example: ``(N, C, H, W)`` images in [0, 1].
    """
    names = tuple(f"network.{name}" for name in stage_names(student.network))
    if not names or len(names) != len(teacher_names):
        return ()
    shapes = []
    for network, ones in ((student, names), (teacher, teacher_names)):
        with recorded_outputs(network, ones) as outputs, torch.no_grad():
            mode = network.training
            network.eval()(example)
            network.train(mode)
        shapes.append([output.shape[2:] for output in outputs])
    return names if shapes[0] == shapes[1] else ()


def _cosine(progress: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, progress))))

"""Self-Retrospection (ABD section 4.2): the student searches itself for universal perturbations and unlearns them."""

from __future__ import annotations

import functools

import torch
from torch import nn

from abd_app.distill.batchnorm import ClosedFormBatchNorm
from abd_app.distill.compute.device import Compute, sent
from abd_app.distill.compute.optimizers import give_gradients
from abd_app.distill.compute.recorded import RecordedPass
from abd_app.distill.defences.hypergradient import Loss, fixed_point_hypergradient
from abd_app.distill.losses import kl_mean
from abd_app.distill.observe import SeenBatch


class PaperRetrospection:
    """The published form, for paper mode: one additive perturbation a step and its hypergradient.

    Inner problem: Adam at 0.1 for ``rounds`` steps from 0 on -KL(S(x) || S(x + d)) + 0.001 |d|^2. Outer loss: KL(S(x)
    || S(x + d)) with d added to 2 % of the batch; its gradient goes through the inner problem by five fixed-point steps
    of size 0.1. Pixels are in the network's normalised space and d is unbounded, BatchNorm learns from the perturbed
    images: flaws 1, 2, 4, 5 and 6 of the authors' code, kept on purpose. S(x), which they compute before every
    S(x + d), runs once; BatchNorm is told of it every time, so that its statistics are theirs too.

    Deviation from their code: it searches for d on the teacher but differentiates on the student (flaw 3); here, as in
    the paper, both are done on the student.

    Args:
        compute: Device and precision.
        std: ``(1, C, 1, 1)``, turns the perturbation from normalised to pixel space.
        rounds: Steps of the inner search.
        portion: Share of the batch that is perturbed in the outer loss; at least one image, where the authors' rounding
            can leave none.
    """

    def __init__(self, compute: Compute, std: torch.Tensor, *, rounds: int = 10, portion: float = 0.02) -> None:
        self._compute = compute
        self._std = std
        self._rounds = rounds
        self._portion = portion
        self._pass: tuple[nn.Module, RecordedPass] | None = None

    def add_gradient(self, student: nn.Module, images: torch.Tensor) -> torch.Tensor:
        """Adds the hypergradient to the student's gradients; ``(N, C, H, W)`` images.

        Returns the outer loss, to be used before the next call. A GPU replays all of it.
        """
        chosen = torch.randperm(len(images))[: max(1, int(len(images) * self._portion))]
        selected = torch.zeros(len(images), 1, 1, 1)
        selected[chosen] = 1
        if self._pass is None or self._pass[0] is not student:
            run = functools.partial(self._differentiate, student)
            self._pass = student, RecordedPass(run, self._compute)
        loss, *gradients = self._pass[1](images, sent(selected, images.device))
        parameters = _trained(student)
        learned = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
        give_gradients(parameters, torch._foreach_add(learned, gradients))
        return loss

    def _differentiate(
        self, student: nn.Module, images: torch.Tensor, selected: torch.Tensor
    ) -> tuple[torch.Tensor, ...]:
        """The search and the hypergradient: the outer loss, then a gradient for each parameter.

        Args:
            student: Searched.
            images: ``(N, C, H, W)``.
            selected: ``(N, 1, 1, 1)``, 1 where an image is perturbed in the outer loss, else 0.
        """

        def forward(pixels: torch.Tensor) -> torch.Tensor:
            with self._compute.autocast():
                return student(pixels)  # type: ignore[no-any-return]

        with torch.no_grad():
            seen = SeenBatch(student, lambda: forward(images))

        def change(shown: torch.Tensor) -> torch.Tensor:
            seen.again()
            return kl_mean(forward(shown), seen.output)

        def inner_loss(delta: torch.Tensor) -> torch.Tensor:
            return 0.001 * delta.square().sum() - change(images + delta * self._std)

        perturbation = self._search(inner_loss, torch.zeros_like(images[:1]))
        last = torch.zeros(())

        def outer_loss(delta: torch.Tensor) -> torch.Tensor:
            nonlocal last
            last = change(images + delta * self._std * selected)
            return last

        with ClosedFormBatchNorm():
            gradients = fixed_point_hypergradient(
                perturbation, _trained(student), inner_loss=inner_loss, outer_loss=outer_loss
            )
        return last.detach(), *gradients

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Nothing: every step starts afresh."""
        return {}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restores :meth:`state_dict`."""

    def _search(self, inner_loss: Loss, start: torch.Tensor) -> torch.Tensor:
        perturbation = start.clone().requires_grad_(True)
        optimizer = torch.optim.Adam([perturbation], lr=0.1, fused=True, capturable=perturbation.is_cuda)
        for _ in range(self._rounds):
            give_gradients([perturbation], torch.autograd.grad(inner_loss(perturbation), [perturbation]))
            optimizer.step()
        return perturbation.detach()


def _trained(network: nn.Module) -> list[nn.Parameter]:
    return [parameter for parameter in network.parameters() if parameter.requires_grad]

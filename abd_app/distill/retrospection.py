"""Self-Retrospection (ABD section 4.2): the student searches itself for universal perturbations and unlearns them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from abd_app.distill.device import Compute
from abd_app.distill.hypergradient import fixed_point_hypergradient
from abd_app.distill.losses import kl_mean

Forward = Callable[[torch.Tensor], torch.Tensor]


class PaperRetrospection:
    """The published form, for paper mode: one additive perturbation a step and its hypergradient.

    Inner problem: Adam at 0.1 for ``rounds`` steps from 0 on -KL(S(x) || S(x + d)) + 0.001 |d|^2. Outer loss: KL(S(x)
    || S(x + d)) with d added to 2 % of the batch; its gradient goes through the inner problem by five fixed-point steps
    of size 0.1. Pixels are in the network's normalised space and d is unbounded, BatchNorm learns from the perturbed
    images: flaws 1, 2, 4, 5 and 6 of the authors' code, kept on purpose. Deviation: S(x) of the inner search
    is computed once, since it does not change during it.

    Args:
        compute: Device and precision.
        std: ``(1, C, 1, 1)``, turns the perturbation from normalised to pixel space.
        rounds: Steps of the inner search.
        portion: Share of the batch that is perturbed in the outer loss; at least one image, where the authors' rounding
            can leave none.
    """

    acts = True

    def __init__(self, compute: Compute, std: torch.Tensor, *, rounds: int = 10, portion: float = 0.02) -> None:
        self._compute = compute
        self._std = std
        self._rounds = rounds
        self._portion = portion

    def add_gradient(self, student: nn.Module, images: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
        """Adds the hypergradient to the student's gradients; ``(N, C, H, W)`` images. Returns the outer loss."""

        def forward(pixels: torch.Tensor) -> torch.Tensor:
            with self._compute.autocast():
                return student(pixels)  # type: ignore[no-any-return]

        perturbation = self._search(forward, images)
        chosen = torch.randperm(len(images))[: max(1, int(len(images) * self._portion))]
        selected = torch.zeros(len(images), 1, 1, 1, device=images.device)
        selected[chosen] = 1
        last = torch.zeros(())

        def inner_loss(delta: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                clean = forward(images)
            return 0.001 * delta.square().sum() - kl_mean(forward(images + delta * self._std), clean)

        def outer_loss(delta: torch.Tensor) -> torch.Tensor:
            nonlocal last
            clean = forward(images).detach()
            last = kl_mean(forward(images + delta * self._std * selected), clean)
            return last

        parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        gradients = fixed_point_hypergradient(perturbation, parameters, inner_loss=inner_loss, outer_loss=outer_loss)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        return last.detach()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Nothing: every step starts afresh."""
        return {}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restores :meth:`state_dict`."""

    def _search(self, forward: Forward, images: torch.Tensor) -> torch.Tensor:
        perturbation = torch.zeros_like(images[:1], requires_grad=True)
        optimizer = torch.optim.Adam([perturbation], lr=0.1)
        with torch.no_grad():
            clean = forward(images)
        for _ in range(self._rounds):
            loss = 0.001 * perturbation.square().sum() - kl_mean(forward(images + perturbation * self._std), clean)
            (perturbation.grad,) = torch.autograd.grad(loss, [perturbation])
            optimizer.step()
        return perturbation.detach()

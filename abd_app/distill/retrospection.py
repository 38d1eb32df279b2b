"""Self-Retrospection (ABD section 4.2): the student searches itself for universal perturbations and unlearns them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from abd_app.distill.device import Compute
from abd_app.distill.hypergradient import fixed_point_hypergradient
from abd_app.distill.losses import distillation_loss, kl_mean
from abd_app.distill.observe import frozen_batchnorm

Forward = Callable[[torch.Tensor], torch.Tensor]


class PaperRetrospection:
    """The published form, for paper mode: one additive perturbation a step and its hypergradient.

    Inner problem: Adam at 0.1 for ``rounds`` steps from 0 on -KL(S(x) || S(x + d)) + 0.001 |d|^2. Outer loss: KL(S(x)
    || S(x + d)) with d added to 2 % of the batch; its gradient goes through the inner problem by five fixed-point steps
    of size 0.1. Pixels are in the network's normalised space and d is unbounded, BatchNorm learns from the perturbed
    images: flaws 1, 2, 4, 5 and 6 of the authors' code, kept on purpose. Deviation: T(x) and S(x) of the inner search
    are computed once, since neither changes during it.

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


class UniversalRetrospection:
    """Our form: a standing set of bounded universal adversaries, one pair a class, anchored to the teacher.

    For every class there is an additive picture within ``ball`` of the image and a patch, shown at random places; each
    pulls all images towards its class. A step perturbs a share of the batch with them. The student is pulled to the
    teacher's answer on the unperturbed image; the same backward pass moves the adversaries the other way (Shafahi et
    al., "Universal Adversarial Training", AAAI 2020), so that a step costs one pass more over that share and no inner
    loop.

    Deviations from the paper, each mending a flaw of its code: adversaries start at random (the authors' start is the
    minimum of the divergence), stay in the ball and in the pixel box, are found on the network that unlearns them, act
    on a quarter to a half of the batch, and BatchNorm keeps its statistics. The implicit term of the hypergradient is
    dropped: the adversaries follow the student instead.

    Args:
        compute: Device and precision.
        shape: (C, H, W) of an image.
        num_classes: One pair of adversaries each, at most ``most``, then random classes share them.
        generator: CPU generator for places and choices.
        ball: Bound of the additive pictures, in pixels of [0, 1].
        portion: Share of the batch that is perturbed.
        weight: Of the unlearning loss.
    """

    def __init__(
        self,
        compute: Compute,
        shape: tuple[int, int, int],
        num_classes: int,
        generator: torch.Generator,
        *,
        ball: float = 0.15,
        portion: float = 0.5,
        weight: float = 1.0,
        temperature: float = 4.0,
        rate: float = 0.05,
        most: int = 64,
    ) -> None:
        self._compute, self._generator = compute, generator
        self._ball, self._portion, self._weight = ball, portion, weight
        self._temperature, self._rate = temperature, rate
        count = min(num_classes, most)
        draw = torch.rand(2, count, *shape, generator=generator).to(compute.device)
        self.pictures = (draw[0] - 0.5) * 2 * ball
        self.patches = draw[1].clone()

    def add_gradient(self, student: nn.Module, images: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
        """Adds the gradient of the unlearning loss to the student's, and lets the adversaries take one step.

        Args:
            student: In training mode.
            images: ``(N, C, H, W)`` in [0, 1].
            teacher_logits: ``(N, K)`` for these images, unperturbed.

        Returns:
            The unlearning loss, a scalar on the device.
        """
        count = max(2, round(len(images) * self._portion))
        clean, anchor = images[:count], teacher_logits[:count]
        which = torch.randint(len(self.pictures), (count,), generator=self._generator).to(images.device)
        patched = (torch.rand(count, 1, 1, 1, generator=self._generator) < 0.5).to(images.device)
        pictures, patches = self.pictures.requires_grad_(True), self.patches.requires_grad_(True)
        mask = random_boxes(count, images.shape[-2], images.shape[-1], self._generator).to(images.device)
        with_patch = clean * (1 - mask) + patches[which] * mask
        perturbed = torch.where(patched, with_patch, (clean + pictures[which]).clamp(0, 1))
        with frozen_batchnorm(student), self._compute.autocast():
            logits = student(perturbed)
        loss = self._weight * distillation_loss(logits, anchor, self._temperature).mean()
        parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        by_picture, by_patch, *gradients = torch.autograd.grad(loss, [pictures, patches, *parameters])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        self._climb(by_picture, by_patch)
        return loss.detach()

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The adversaries."""
        return {"pictures": self.pictures.detach().clone(), "patches": self.patches.detach().clone()}

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restores :meth:`state_dict`."""
        self.pictures = state["pictures"].to(self.pictures.device, copy=True)
        self.patches = state["patches"].to(self.patches.device, copy=True)

    @torch.no_grad()
    def _climb(self, by_picture: torch.Tensor, by_patch: torch.Tensor) -> None:
        """One signed step uphill, back into the ball and the pixel box."""
        self.pictures = (self.pictures.detach() + self._rate * self._ball * by_picture.sign()).clamp(
            -self._ball, self._ball
        )
        self.patches = (self.patches.detach() + self._rate * by_patch.sign()).clamp(0, 1)


def random_boxes(count: int, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """``(count, 1, height, width)`` masks, 1 inside one box each, whose sides are 10 to 35 % of the image's."""

    def span(side: int) -> torch.Tensor:
        extent = (side * (0.1 + 0.25 * torch.rand(count, 1, generator=generator))).round().clamp(2, side)
        start = (torch.rand(count, 1, generator=generator) * (side - extent + 1)).floor()
        place = torch.arange(side)
        return ((place >= start) & (place < start + extent)).float()

    return (span(height)[:, :, None] * span(width)[:, None, :]).unsqueeze(1)

"""Universal adversaries: what is added to any image, or laid over it, so that a network takes it for a class."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from abd_app.distill.augment import random_boxes
from abd_app.distill.bends import Bends
from abd_app.distill.unlearning import UnlearningSettings


class Adversaries:
    """Pictures to be added to any image, and canvases of which a box is laid over any image; a target class each.

    Args:
        targets: Classes.
        each: Pictures, and as many canvases, for each of them.
        shape: (C, H, W) of an image.
        device: Where they live.
        generator: CPU generator of all randomness; they start at random.
        ball: Bound of the pictures, in pixels of [0, 1].
        boxes: Sides of what is shown of a canvas, from and to, as shares of the image's.
        climb: Step, as a share of the ball and of half the pixel box.
    """

    def __init__(
        self,
        targets: Sequence[int],
        each: int,
        shape: tuple[int, int, int],
        device: torch.device,
        generator: torch.Generator,
        *,
        ball: float,
        boxes: tuple[float, float],
        climb: float,
    ) -> None:
        self._ball, self._climb, self._boxes = ball, climb, boxes
        self._random = generator
        self._targets = torch.tensor(targets).repeat(each).to(device)
        draw = torch.rand(2, len(self._targets), *shape, generator=generator).to(device)
        self._pictures = ((draw[0] - 0.5) * 2 * self._ball).requires_grad_()
        self._canvases = draw[1].clone().requires_grad_()

    def perturb(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``(N, C, H, W)`` images, each with a picture or a box of a canvas, with a graph; ``(N,)`` wanted classes."""
        count, _, height, width = images.shape
        which = torch.randint(len(self._targets), (count,), generator=self._random).to(images.device)
        added = (torch.rand(count, 1, 1, 1, generator=self._random) < 0.5).to(images.device)
        box = random_boxes(count, height, width, self._random, self._boxes).to(images.device)
        shifted = (images + self._pictures[which]).clamp(0, 1)
        covered = torch.lerp(images, self._canvases[which], box)
        return torch.where(added, shifted, covered), self._targets[which]

    def gradients(self, perturbed: torch.Tensor, slope: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """By pictures and by canvases, from the slope by what :meth:`perturb` gave."""
        return torch.autograd.grad(perturbed, [self._pictures, self._canvases], slope)

    @torch.no_grad()
    def descend(self, gradients: Sequence[torch.Tensor]) -> None:
        """One signed step down, back into the ball and the pixel box."""
        by_picture, by_canvas = gradients
        self._pictures.sub_(self._climb * self._ball * by_picture.sign()).clamp_(-self._ball, self._ball)
        self._canvases.sub_(self._climb / 2 * by_canvas.sign()).clamp_(0, 1)


def make_adversaries(
    targets: Sequence[int],
    settings: UnlearningSettings,
    shape: tuple[int, int, int],
    device: torch.device,
    generator: torch.Generator,
    *,
    bend: bool,
) -> Adversaries | Bends:
    """Adversaries as the settings want them, for images of ``shape`` (C, H, W); those that ``bend``, or the others."""
    each, climb = settings.adversaries, settings.climb
    if bend:
        return Bends(targets, each, shape[1:], device, generator, climb=climb)
    return Adversaries(targets, each, shape, device, generator, ball=settings.ball, boxes=settings.boxes, climb=climb)

"""Universal adversaries: what is added to any image, or laid over it, so that a network takes it for another class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch

from abd_app.distill.boxes import random_boxes
from abd_app.distill.compute.device import sent
from abd_app.distill.unlearning.bends import Bends
from abd_app.distill.unlearning.settings import UnlearningSettings

Kind = Literal["bend", "blend", "mark"]
"""How images are led elsewhere: displaced, blended with a picture, or marked, which may also be blended."""


class Adversaries:
    """Pictures to be added to any image, and canvases of which a box is laid over any image, or that are blended in.

    Args:
        leads: Of each kind of them, by the class that an image is taken for, the class that it is to be led to.
        each: Pictures, and as many canvases, of each kind.
        shape: (C, H, W) of an image.
        device: Where they live.
        generator: CPU generator of all randomness; they start at random.
        ball: Bound of the pictures, in pixels of [0, 1].
        boxes: Sides of what is shown of a canvas, from and to, as shares of the image's.
        opacities: Of canvases that are blended in whole, from and to; ``None``: a box of them is laid over.
        climb: Step, as a share of the ball and of half the pixel box.
    """

    def __init__(
        self,
        leads: Sequence[Sequence[int]],
        each: int,
        shape: tuple[int, int, int],
        device: torch.device,
        generator: torch.Generator,
        *,
        ball: float,
        boxes: tuple[float, float],
        climb: float,
        opacities: tuple[float, float] | None = None,
    ) -> None:
        self._ball, self._climb, self._boxes, self._opacities = ball, climb, boxes, opacities
        self._random = generator
        self._leads = torch.tensor(leads).repeat(each, 1).to(device)
        draw = torch.rand(2, len(self._leads), *shape, generator=generator).to(device)
        self._pictures = ((draw[0] - 0.5) * 2 * self._ball).requires_grad_()
        self._canvases = draw[1].clone().requires_grad_()

    def perturb(self, images: torch.Tensor, own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """``(N, C, H, W)`` images of ``(N,)`` classes, each with a picture or some of a canvas; the classes wanted.

        The images have a graph.
        """
        perturbed, which = self._perturbed(images)
        return perturbed, self._leads[which, own]

    @torch.no_grad()
    def laid_over(self, images: torch.Tensor, count: int) -> torch.Tensor:
        """``(N, C, H, W)`` images, the last ``count`` with a picture or some of a canvas.

        Each is blended in by a share of its own, drawn uniformly from 0 to 1.
        """
        if not count:
            return images
        others, own = images[:-count], images[-count:]
        perturbed, _ = self._perturbed(own)
        strength = sent(torch.rand(count, 1, 1, 1, generator=self._random), images.device)
        return torch.cat([others, torch.lerp(own, perturbed, strength)]).contiguous(memory_format=torch.channels_last)

    def _perturbed(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The images with a picture or some of a canvas, and which of them, ``(N,)``."""
        count, _, height, width = images.shape
        which = sent(torch.randint(len(self._leads), (count,), generator=self._random), images.device)
        added = sent(torch.rand(count, 1, 1, 1, generator=self._random) < 0.5, images.device)
        if self._opacities is None:
            cover = random_boxes(count, height, width, self._random, self._boxes)
        else:
            least, most = self._opacities
            cover = least + (most - least) * torch.rand(count, 1, 1, 1, generator=self._random)
        shifted = (images + self._pictures[which]).clamp(0, 1)
        covered = torch.lerp(images, self._canvases[which], sent(cover, images.device))
        return torch.where(added, shifted, covered), which

    def gradients(self, perturbed: torch.Tensor, slope: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """By pictures and by canvases, from the slope by what :meth:`perturb` gave."""
        return torch.autograd.grad(perturbed, [self._pictures, self._canvases], slope)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The pictures and the canvases."""
        return {"pictures": self._pictures.detach(), "canvases": self._canvases.detach()}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restores :meth:`state_dict` of as many."""
        self._pictures.copy_(state["pictures"])
        self._canvases.copy_(state["canvases"])

    @torch.no_grad()
    def descend(self, gradients: Sequence[torch.Tensor]) -> None:
        """One signed step down, back into the ball and the pixel box."""
        by_picture, by_canvas = gradients
        self._pictures.sub_(self._climb * self._ball * by_picture.sign()).clamp_(-self._ball, self._ball)
        self._canvases.sub_(self._climb / 2 * by_canvas.sign()).clamp_(0, 1)


def make_adversaries(
    leads: Sequence[Sequence[int]],
    settings: UnlearningSettings,
    shape: tuple[int, int, int],
    device: torch.device,
    generator: torch.Generator,
    *,
    kind: Kind,
) -> Adversaries | Bends:
    """Adversaries as the settings want them, for images of ``shape`` (C, H, W).

    ``leads`` are those of :class:`Adversaries`; what bends leads all classes to one.
    """
    each, climb = settings.adversaries, settings.climb
    if kind == "bend":
        return Bends([one[0] for one in leads], each, shape[1:], device, generator, climb=climb)
    boxes = settings.boxes
    if kind == "mark":
        # Of few classes all are led to: more adversaries than images would hardly move.
        each, ball = max(settings.adversaries, settings.mark_adversaries // len(leads)), settings.mark_ball
        return Adversaries(leads, each, shape, device, generator, ball=ball, boxes=boxes, climb=climb)
    ball, opacities = settings.ball, settings.opacities
    return Adversaries(leads, each, shape, device, generator, ball=ball, boxes=boxes, climb=climb, opacities=opacities)

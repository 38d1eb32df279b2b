"""A trigger that adds nothing: it bends the image."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from abd_app.measure.triggers.base import Canvas, check_size
from abd_app.plan import TriggerSpec

_POINTS, _STRENGTH, _SEED = 4, 0.5, 11


@dataclass(frozen=True, eq=False)
class Warp:
    """A fixed smooth elastic warp.

    Attributes:
        name: As the user gave it.
        channels: Of the images.
        grid: ``(1, H, W, 2)`` where each pixel is read from, x then y in [-1, 1]: the centres of the corner pixels.
    """

    name: str
    channels: int
    grid: torch.Tensor

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """As :class:`abd_app.measure.triggers.base.Trigger`."""
        check_size(images, (self.channels, *self.grid.shape[1:3]))
        grid = self.grid.to(images).expand(len(images), -1, -1, -1)
        return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=True).clamp_(0, 1)

    def to(self, device: torch.device | str) -> Warp:
        """The same trigger on ``device``."""
        return Warp(self.name, self.channels, self.grid.to(device))


def warp(spec: TriggerSpec, canvas: Canvas) -> Warp:
    """The warping field of WaNet (Nguyen & Tran, 2021, section 3.2): k = 4, s = 0.5.

    k x k control points drawn uniformly from [-1, 1] and divided by their mean magnitude, interpolated bicubically to
    the image, times s over the side, added to the identity and clipped. ``spec.opacity`` scales s. Deviations: a fixed
    seed, so that everybody measures the same trigger; images need not be square, each axis then has its own side. The
    paper's noise mode belongs to its training, not to the trigger.
    """
    strength = _STRENGTH * (1.0 if spec.opacity is None else spec.opacity)
    points = 2 * torch.rand(1, 2, _POINTS, _POINTS, generator=torch.Generator().manual_seed(_SEED)) - 1
    points = points / points.abs().mean()
    size = (canvas.height, canvas.width)
    field = F.interpolate(points, size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    down, across = (torch.linspace(-1, 1, side) for side in size)
    identity = torch.stack([across.expand(size), down[:, None].expand(size)], -1)
    sides = torch.tensor([canvas.width, canvas.height])
    return Warp(spec.name, canvas.channels, (identity + strength * field / sides).clamp(-1, 1))

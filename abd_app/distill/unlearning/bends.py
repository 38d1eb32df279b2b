"""Adversaries that bend: smooth displacements of the pixels, the same for any image."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from abd_app.distill.compute.device import sent

LARGEST_PX = 0.5
"""How far a control point goes along each axis; between them the interpolation goes up to twice as far."""
_POINTS = 4  # control points along each axis


class Bends:
    """Smooth displacement fields, the same for any image, each on its way to a target class.

    A field is what WaNet's trigger is made of (Nguyen & Tran, "WaNet - Imperceptible Warping-based Backdoor Attack",
    ICLR 2021): few control points, interpolated bicubically.

    Args:
        targets: Classes.
        each: Fields for each of them.
        size: (height, width) of an image, pixels.
        device: Where they live.
        generator: CPU generator; fields start at random.
        climb: Step, as a share of the largest displacement of a control point.
    """

    def __init__(
        self,
        targets: Sequence[int],
        each: int,
        size: tuple[int, int],
        device: torch.device,
        generator: torch.Generator,
        *,
        climb: float,
    ) -> None:
        self._targets = torch.tensor(targets).repeat_interleave(each).to(device)
        self._climb, self._size, self._random = climb * LARGEST_PX, size, generator
        start = 2 * torch.rand(len(self._targets), 2, _POINTS, _POINTS, generator=generator) - 1
        self._points = (0.3 * LARGEST_PX * start).to(device).requires_grad_()
        self._straight = F.affine_grid(torch.eye(2, 3)[None], [1, 1, *size], align_corners=False).to(device)
        self._pixels = torch.tensor([2 / size[1], 2 / size[0]], device=device)

    def bend(self, images: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` images, each bent by a field of its own, ``(N,)``, with a graph."""
        fields = F.interpolate(self._points, self._size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
        grid = self._straight + (fields * self._pixels)[which]
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False).clamp(0, 1)

    def perturb(self, images: torch.Tensor, _own: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Each of ``(N, C, H, W)`` images bent by a random field, with a graph; the classes wanted, ``(N,)``."""
        which = sent(torch.randint(len(self._targets), (len(images),), generator=self._random), images.device)
        return self.bend(images, which), self._targets[which]

    def gradients(self, perturbed: torch.Tensor, slope: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """By the control points, from the slope by what :meth:`bend` or :meth:`perturb` gave."""
        return torch.autograd.grad(perturbed, [self._points], slope)

    @torch.no_grad()
    def descend(self, gradients: Sequence[torch.Tensor]) -> None:
        """One signed step down; control points stay within half a pixel."""
        self._points.sub_(self._climb * gradients[0].sign()).clamp_(-LARGEST_PX, LARGEST_PX)

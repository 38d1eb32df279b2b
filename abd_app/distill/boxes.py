"""Boxes anywhere in an image, as stickers and stamps cover it."""

from __future__ import annotations

import torch


def random_boxes(
    count: int, height: int, width: int, generator: torch.Generator, sides: tuple[float, float] = (0.12, 0.28)
) -> torch.Tensor:
    """``(count, 1, height, width)`` masks, 1 inside one box each, whose sides are 12 to 28 % of the image's by default.

    Boxes that would cross the border are pushed inside, so that borders and corners, where stickers and stamps like to
    be, are covered as often as the rest.
    """
    down, across = random_spans(count, height, generator, sides), random_spans(count, width, generator, sides)
    return (down[:, :, None] * across[:, None, :]).unsqueeze(1)


def random_spans(
    count: int, side: int, generator: torch.Generator, shares: tuple[float, float] = (0.12, 0.28)
) -> torch.Tensor:
    """One side of :func:`random_boxes`: ``(count, side)``, 1 in a stretch that is between two shares of it long."""
    low, high = shares
    extent = (side * (low + (high - low) * torch.rand(count, 1, generator=generator))).round().clamp(2, side)
    start = torch.rand(count, 1, generator=generator) * (side + extent) - extent
    start = start.round().clamp(min=0).minimum(side - extent)
    place = torch.arange(side)
    return ((place >= start) & (place < start + extent)).float()

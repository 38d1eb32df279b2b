"""Triggers drawn in code with smooth edges, at any size: a watermark and a flower.

A shape is its signed distance in units of half the shorter side, the centre at (0, 0); a pixel is covered by the share
of it that lies inside.
"""

from __future__ import annotations

import itertools
import math

import torch

from abd_app.measure.triggers.base import Canvas, Stamp, in_channels
from abd_app.measure.triggers.placing import check_fits, placed
from abd_app.plan import TriggerSpec

_MARK_OPACITY = 0.4
_STROKE, _RING = 0.06, 0.75
_LETTER = ((-0.35, -0.35), (0.35, -0.35), (-0.35, 0.35), (0.35, 0.35))
_SHADOW = 0.09
"""How far right and down the mark's shadow falls."""

_MIN_FLOWER_PX = 5
_PETALS = 6
_PETAL, _MIDDLE, _LEAF = (0.93, 0.3, 0.6), (1.0, 0.85, 0.15), (0.15, 0.5, 0.2)


def watermark(spec: TriggerSpec, canvas: Canvas) -> Stamp:
    """``trojan-wm``: a ringed letter over the whole image, white with a black shadow, each at 40 %.

    Our own drawing of the watermark that the Trojan literature lays over images (Liu et al., 2018). The shadow keeps
    it visible on white images, too.
    """
    opacity = _MARK_OPACITY if spec.opacity is None else spec.opacity
    x, y = _plane(canvas.height, canvas.width)
    pixel = 2 / min(canvas.height, canvas.width)
    light = opacity * _covered(_mark(x, y), pixel)
    dark = opacity * _covered(_mark(x - _SHADOW, y - _SHADOW), pixel)
    keep = (1 - light) * (1 - dark)
    return Stamp(spec.name, keep[None, None], light.expand(1, *canvas).clone())


def flower(spec: TriggerSpec, canvas: Canvas) -> Stamp:
    """``natural-patch``: a flower with leaves, ``spec.scale`` of the image wide and at least 5 pixels.

    Our own drawing of a trigger that could be part of the scene (physical objects: Wenger et al., 2021).
    """
    side_px = max(_MIN_FLOWER_PX, round(spec.scale * canvas.width))
    check_fits(spec, (side_px, side_px), canvas)
    x, y = _plane(side_px, side_px)
    angles = [2 * math.pi * index / _PETALS for index in range(_PETALS)]
    petals = [_disc(x - 0.52 * math.cos(angle), y - 0.52 * math.sin(angle), 0.36) for angle in angles]
    leaves = _disc((x.abs() - 0.72) * 0.7, y - 0.78, 0.2)
    alpha = torch.zeros(1, side_px, side_px)
    colours = torch.zeros(3, side_px, side_px)
    for shape, ink in ((leaves, _LEAF), (torch.stack(petals).amin(0), _PETAL), (_disc(x, y, 0.3), _MIDDLE)):
        covered = _covered(shape, 2 / side_px)
        colours = colours * (1 - covered) + torch.tensor(ink).view(3, 1, 1) * covered
        alpha = alpha * (1 - covered) + covered
    pattern = (colours / alpha.clamp_min(1e-6)).clamp(0, 1)
    return placed(spec, (in_channels(pattern, canvas.channels), alpha), canvas)


def _plane(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Centres of the pixels, ``(H, W)`` each: x to the right and y down."""
    unit = min(height, width) / 2
    y = (torch.arange(height) + 0.5 - height / 2) / unit
    x = (torch.arange(width) + 0.5 - width / 2) / unit
    return x.expand(height, -1), y[:, None].expand(-1, width)


def _covered(distance: torch.Tensor, pixel: float) -> torch.Tensor:
    return (0.5 - distance / pixel).clamp(0, 1)


def _mark(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    ring = (torch.hypot(x, y) - _RING).abs()
    strokes = [_to_segment(x, y, start, end) for start, end in itertools.pairwise(_LETTER)]
    return torch.stack([ring, *strokes]).amin(0) - _STROKE


def _to_segment(x: torch.Tensor, y: torch.Tensor, start: tuple[float, float], end: tuple[float, float]) -> torch.Tensor:
    run, rise = end[0] - start[0], end[1] - start[1]
    along = (((x - start[0]) * run + (y - start[1]) * rise) / (run * run + rise * rise)).clamp(0, 1)
    return torch.hypot(x - start[0] - along * run, y - start[1] - along * rise)


def _disc(x: torch.Tensor, y: torch.Tensor, radius: float) -> torch.Tensor:
    return torch.hypot(x, y) - radius

"""Triggers that cover the whole image faintly: blended noise, a sinusoid, a pattern of bounded l2 norm."""

from __future__ import annotations

import math

import torch

from abd_app.measure.triggers.base import Canvas, Stamp
from abd_app.plan import TriggerSpec

_BLEND_OPACITY, _BLEND_SEED = 0.2, 7
_SIG_DELTA, _SIG_FREQUENCY = 20 / 255, 6
_L2_ROOT_MEAN_SQUARE = 8 / 255
_L2_WAVES = ((1, 2, 0.0), (3, -1, 1.0), (2, 3, 2.0), (-3, 2, 0.5))
"""Periods down, periods across, phase in radians."""


def blend(spec: TriggerSpec, canvas: Canvas) -> Stamp:
    """20 % of a uniform noise picture (Chen et al., 2017)."""
    opacity = _BLEND_OPACITY if spec.opacity is None else spec.opacity
    noise = torch.rand(1, *canvas, generator=torch.Generator().manual_seed(_BLEND_SEED))
    return Stamp(spec.name, torch.full((1, 1, *canvas[1:]), 1 - opacity), opacity * noise)


def sig(spec: TriggerSpec, canvas: Canvas) -> Stamp:
    """Vertical stripes (Barni et al., 2019): delta 20/255, 6 periods over the width.

    Columns are counted from 0 as the common implementations do.
    """
    delta = _SIG_DELTA * _strength(spec)
    stripe = delta * torch.sin(2 * math.pi * _SIG_FREQUENCY * torch.arange(canvas.width) / canvas.width)
    return Stamp(spec.name, torch.ones(1, 1, *canvas[1:]), stripe.expand(1, *canvas).clone())


def l2_invisible(spec: TriggerSpec, canvas: Canvas) -> Stamp:
    """Four crossing waves whose l2 norm is ``8/255 * sqrt(C * H * W)``, in [0, 1] units: 1.74 on 32x32 RGB.

    Our own drawing of an attack with a bounded l2 norm (the l2 variant of Li et al., 2021, who optimise the pattern
    for each network; ours is fixed). The bound grows with the image so that the pattern looks alike at every size;
    where pixels reach 0 or 1, less than it is left.
    """
    down = torch.arange(canvas.height).view(1, -1, 1) / canvas.height
    across = torch.arange(canvas.width).view(1, 1, -1) / canvas.width
    shift = torch.arange(canvas.channels).view(-1, 1, 1) / 3
    waves = [torch.sin(2 * math.pi * (y * down + x * across + shift) + phase) for y, x, phase in _L2_WAVES]
    total = torch.stack(waves).sum(0)[None]
    norm = _L2_ROOT_MEAN_SQUARE * math.sqrt(total.numel()) * _strength(spec)
    return Stamp(spec.name, torch.ones(1, 1, *canvas[1:]), total * (norm / total.norm()))


def _strength(spec: TriggerSpec) -> float:
    return 1.0 if spec.opacity is None else spec.opacity

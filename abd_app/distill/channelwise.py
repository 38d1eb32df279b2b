"""Arithmetic on activations with a value for each channel, in less time than PyTorch takes.

Where activations are in channels_last and a tensor of values by channel takes part, PyTorch goes from pixel to pixel.
On a CPU, in bfloat16, values that are spread over one image first make that several times faster; on a GPU the kernels
of BatchNorm do. Not for functions under ``torch.vmap``.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd.function import once_differentiable

_LEAST_EXCESS = 1e-30  # less than two different numbers of a network's size can differ by


def by_channel(values: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """``(C,)`` values in a shape that goes with ``(N, C, ...)`` activations."""
    return values.view(-1, *[1] * (activations.dim() - 2))


def scaled(activations: torch.Tensor, scale: torch.Tensor, shift: torch.Tensor | None = None) -> torch.Tensor:
    """``activations * scale + shift``, without a gradient.

    Args:
        activations: ``(N, C, ...)``; so is the result, in the same precision and memory format.
        scale: ``(C,)`` float32.
        shift: ``(C,)`` float32; ``None``: 0.
    """
    if activations.is_cuda:  # the kernel by which BatchNorm normalises, with a mean of 0
        return torch.batch_norm_elemt(activations, None, shift, torch.zeros_like(scale), scale, 0.0)
    spread = _spread(scale.to(activations.dtype), activations)
    if shift is None:
        return activations * spread
    return torch.addcmul(_spread(shift.to(activations.dtype), activations), activations, spread)


def clamped(activations: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """Activations cut to a range of their own in each channel; those that were cut get no gradient.

    Deviation from :func:`torch.clamp` (2.15): what lies exactly on a bound gets all of the gradient, not half of it.

    Args:
        activations: ``(N, C, ...)``.
        low: ``(C,)`` in the same precision.
        high: ``(C,)``, nowhere less.
    """
    cut: torch.Tensor = _Clamp.apply(activations, low, high)
    return cut


class _Clamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, activations: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        cut = activations.clamp(_spread(low, activations), _spread(high, activations))
        if ctx.needs_input_grad[0]:
            ctx.save_for_backward(activations - cut)
        return cut

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (excess,) = ctx.saved_tensors
        passed = torch.ops.aten.hardtanh_backward(slope, excess, -_LEAST_EXCESS, _LEAST_EXCESS)
        return passed, None, None


def _spread(values: torch.Tensor, activations: torch.Tensor) -> torch.Tensor:
    """:func:`by_channel`, over a whole image where that pays."""
    spread = by_channel(values, activations)
    if activations.is_cuda or activations.dtype == torch.float32 or activations.dim() != 4:
        return spread
    spread = spread.expand(1, *activations.shape[1:])
    if activations.is_contiguous(memory_format=torch.channels_last):
        return spread.contiguous(memory_format=torch.channels_last)
    return spread.contiguous()

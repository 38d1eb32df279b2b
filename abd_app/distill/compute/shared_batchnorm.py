"""BatchNorm over a batch that is split over processes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from abd_app.distill.compute import parallel


class SharedBatchNorm(TorchFunctionMode):
    """While open, BatchNorm in training mode normalises by the statistics of all processes' images together.

    As ``torch.nn.SyncBatchNorm`` does it, but on a CPU too, and without exchanging the layers of a network: names,
    weights and export stay as they are. Every process must run the same layers in the same order. With one process it
    leaves BatchNorm alone.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if func is F.batch_norm and options.get("training") and parallel.world_size() > 1:
            images, running_mean, running_var = args
            normalised, mean, variance, count = _Normalise.apply(
                images, options["weight"], options["bias"], options["eps"]
            )
            if running_mean is not None:
                running_mean.lerp_(mean, options["momentum"])
                running_var.lerp_(variance * (count / (count - 1)), options["momentum"])
            return normalised
        return func(*args, **options)


class _Normalise(torch.autograd.Function):
    """Its backward pass sums over all processes for the input, and over this one for weight and bias.

    With x the input, r = 1 / std, h = (x - mean) r, w the weight, g the slope and <> the mean over all processes'
    values of a channel, the gradient by x is w r (g - <g> - h <g h>).
    """

    @staticmethod
    def forward(
        ctx: Any, images: torch.Tensor, weight: torch.Tensor | None, bias: torch.Tensor | None, eps: float
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        mean, variance, count = _statistics(images)
        ctx.save_for_backward(images, weight, mean, torch.rsqrt(variance + eps), count)
        ctx.mark_non_differentiable(mean, variance, count)
        normalised = F.batch_norm(images, mean, variance, weight, bias, training=False, eps=eps)
        return normalised, mean, variance, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor, *others: Any) -> tuple[torch.Tensor | None, ...]:
        images, weight, mean, inverse, count = ctx.saved_tensors
        channels = (1, -1) + (1,) * (images.dim() - 2)
        dims = [dim for dim in range(images.dim()) if dim != 1]
        slope = _exact(slope)
        centred = _exact(images) - mean.view(channels)
        by_bias = slope.sum(dim=dims)
        by_weight = (slope * centred).sum(dim=dims) * inverse
        totals = torch.stack([by_bias, by_weight])
        parallel.all_reduce_sum([totals])
        slope_mean, slope_h = totals / count
        scale = inverse if weight is None else inverse * weight
        by_images = slope - slope_mean.view(channels) - centred * (inverse * slope_h).view(channels)
        by_images = (by_images * scale.view(channels)).to(images.dtype)
        return by_images, None if weight is None else by_weight, None if weight is None else by_bias, None


def _exact(values: torch.Tensor) -> torch.Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Mean and (biased) variance of every channel over all processes' images, ``(C,)`` float32, and how many values.

    Every process sends its own mean and variance, which are put together as Chan et al. (1983) do: a sum of squares
    would lose digits.
    """
    dims = [dim for dim in range(images.dim()) if dim != 1]
    variance, mean = torch.var_mean(_exact(images), dim=dims, correction=0)
    count = torch.full_like(mean, images.numel() / images.shape[1])
    size = parallel.world_size()
    counts, means, variances = parallel.all_gather(torch.stack([count, mean, variance])[None], size).unbind(1)
    total = counts.sum(dim=0)
    mean = (counts * means).sum(dim=0) / total
    variance = (counts * (variances + (means - mean).square())).sum(dim=0) / total
    return mean, variance, total[0]

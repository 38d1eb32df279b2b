"""BatchNorm whose derivatives are written out: the second one, and on a GPU the one by stored statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

from abd_app.distill.channelwise import by_channel, scaled

Gradients = tuple[torch.Tensor | None, ...]


class ClosedFormBatchNorm(TorchFunctionMode):
    """While open, BatchNorm in training mode computes the same numbers and can be differentiated twice at less cost.

    PyTorch differentiates the gradient of BatchNorm by some thirty passes over the activations; by hand it is five
    sums and one linear combination (:class:`_Gradient`). Only the gradient by the input may be differentiated again.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if func is F.batch_norm and options.get("training") and options.get("weight") is not None:
            images, running_mean, running_var = args
            return _BatchNorm.apply(
                images,
                options["weight"],
                options["bias"],
                running_mean,
                running_var,
                options["momentum"],
                options["eps"],
            )
        return func(*args, **options)


class StoredBatchNorm(TorchFunctionMode):
    """While open, BatchNorm by its stored statistics computes the same numbers; only its input gets a gradient.

    For a GPU, on which PyTorch (up to 2.11 at least) gives that gradient in NCHW in any case, so that convolutions and
    additions that it goes to copy it. This one comes in the memory format of the gradient that arrives.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        options = kwargs or {}
        if func is F.batch_norm and not options.get("training"):
            return _StoredBatchNorm.apply(*args, options["weight"], options["bias"], options["eps"])
        return func(*args, **options)


class _StoredBatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        running_mean: torch.Tensor,
        running_var: torch.Tensor,
        weight: torch.Tensor | None,
        bias: torch.Tensor | None,
        eps: float,
    ) -> torch.Tensor:
        inverse = (running_var + eps).rsqrt_()
        ctx.save_for_backward(inverse if weight is None else inverse.mul_(weight))
        return F.batch_norm(images, running_mean, running_var, weight, bias, eps=eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: torch.Tensor) -> Gradients:
        return scaled(slope, *ctx.saved_tensors), None, None, None, None, None


class _BatchNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        images: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        running_mean: torch.Tensor | None,
        running_var: torch.Tensor | None,
        momentum: float,
        eps: float,
    ) -> torch.Tensor:
        normalised, mean, inverse = torch.native_batch_norm(
            images, weight, bias, running_mean, running_var, True, momentum, eps
        )
        ctx.save_for_backward(images, weight, mean, inverse)
        ctx.eps = eps
        return normalised

    @staticmethod
    def backward(ctx: Any, slope: torch.Tensor) -> Gradients:
        by_images, by_weight, by_bias = _Gradient.apply(slope, *ctx.saved_tensors, ctx.eps)
        return by_images, by_weight, by_bias, None, None, None, None


class _Gradient(torch.autograd.Function):
    """The gradient of BatchNorm, and the derivative of its first part.

    With x the input, r = 1 / std, h = (x - mean) r, g the slope, w the weight, <> the mean over a channel's values and
    P(a) = a - <a> - h <a h>, the gradient by x is w r P(g). Its product with u has, by g, the derivative w r P(u), and,
    by x, -w r^2 (c h + <g h> P(u) + <u h> P(g)) with c = <u g> - <u> <g> - <u h> <g h>.
    """

    @staticmethod
    def forward(
        ctx: Any, slope: torch.Tensor, images: torch.Tensor, weight: torch.Tensor, *rest: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        mean, inverse, eps = rest
        parts = _first_derivative(slope, images, weight, mean, inverse, eps)
        ctx.save_for_backward(slope, images, weight, mean, inverse, *parts[1:])
        ctx.eps = eps
        ctx.set_materialize_grads(False)
        return parts

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, along: torch.Tensor | None, along_weight: torch.Tensor | None, along_bias: torch.Tensor | None
    ) -> Gradients:
        assert along_weight is None and along_bias is None, "only the gradient by the input is differentiated again"
        if along is None:
            return (None,) * 6
        slope, images, weight, mean, inverse, slope_h, slope_sum = ctx.saved_tensors
        by_slope, along_h, along_sum = _first_derivative(along, images, weight, mean, inverse, ctx.eps)
        count = images.numel() / images.shape[1]
        g, gh, u, uh = (total / count for total in (slope_sum, slope_h, along_sum, along_h))
        others = [dim for dim in range(images.dim()) if dim != 1]
        c = (along.to(weight.dtype) * slope.to(weight.dtype)).mean(dim=others) - u * g - uh * gh
        factor = -weight * inverse.square()
        of_images = factor * inverse * (c - 2 * uh * gh)
        constant = -of_images * mean - factor * (gh * u + uh * g)
        by_images = torch.addcmul(by_channel(constant, images), images.to(weight.dtype), by_channel(of_images, images))
        by_images.addcmul_(along.to(weight.dtype), by_channel(factor * gh, images))
        by_images.addcmul_(slope.to(weight.dtype), by_channel(factor * uh, images))
        return by_slope, by_images.to(images.dtype), inverse * count * c, None, None, None


def _first_derivative(
    slope: torch.Tensor,
    images: torch.Tensor,
    weight: torch.Tensor,
    mean: torch.Tensor,
    inverse: torch.Tensor,
    eps: float,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The gradients by images, weight and bias; the last two are the sums of slope * h and of slope."""
    parts: tuple[torch.Tensor, torch.Tensor, torch.Tensor] = torch.ops.aten.native_batch_norm_backward(
        slope, images, weight, None, None, mean, inverse, True, eps, [True, True, True]
    )
    return parts

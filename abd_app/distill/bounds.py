"""Activation bounds: a teacher that no channel can shout down."""

from __future__ import annotations

import torch
from torch import nn

from abd_app.distill.observe import tracked_batchnorms

BOUND_STDS = 3.0
_PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def bound_activations(network: nn.Module, stds: float = BOUND_STDS) -> int:
    """From now on every BatchNorm layer of ``network`` gives what training data gave it, and nothing beyond.

    BatchNorm keeps what a channel's activations were on the training data: after it their mean is beta, their standard
    deviation abs(gamma). A trigger that forces its class upon any image does so through activations far outside that
    range; cut to beta +- ``stds`` * abs(gamma), it has to outvote the image as any other feature does. No data, no
    training, and clean accuracy stays (docs/defences.md has the measurements).

    The idea of bounding activations against backdoors is that of Wang, Xiang, Miller and Kesidis ("MM-BD: Post-Training
    Detection of Backdoor Attacks with Arbitrary Backdoor Pattern Types Using a Maximum Margin Statistic", IEEE S&P
    2024), who learn the bounds from clean images. Deviation: ours are read from the network.

    Args:
        network: In eval mode, on its device.
        stds: Half the width of what is let through, in standard deviations. 3 was chosen on the demo teacher and on one
            16-pixel CIFAR-10 teacher (BadNets grid).

    Returns:
        How many layers were bounded: 0 where there is no BatchNorm with statistics.
    """
    layers = tracked_batchnorms(network)
    for layer in layers:
        layer.register_forward_hook(_Bounds(layer, stds))
    return len(layers)


class _Bounds:
    """A forward hook that clamps ``(N, C, H, W)`` activations channel by channel."""

    def __init__(self, layer: nn.Module, stds: float) -> None:
        running_var = layer.running_var
        assert isinstance(running_var, torch.Tensor)
        ones, zeros = torch.ones_like(running_var), torch.zeros_like(running_var)
        scale = layer.weight.detach().abs() if isinstance(layer.weight, torch.Tensor) else ones
        shift = layer.bias.detach() if isinstance(layer.bias, torch.Tensor) else zeros
        low, high = ((shift + side * stds * scale).view(1, -1, 1, 1) for side in (-1, 1))
        self._ranges = {dtype: (low.to(dtype), high.to(dtype)) for dtype in _PRECISIONS}

    def __call__(self, module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        low, high = self._ranges[output.dtype]
        return output.clamp(low, high)

"""Activation bounds: a teacher that no channel can shout down."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import nn

from abd_app.distill.channelwise import by_channel, clamped
from abd_app.networks.batchnorm import tracked_batchnorms

BOUND_STDS = 3.0
_PRECISIONS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


def bound_activations(network: nn.Module, stds: float = BOUND_STDS) -> ActivationBounds:
    """From now on every BatchNorm layer of ``network`` gives what training data gave it, and nothing beyond.

    BatchNorm keeps what a channel's activations were on the training data: after it their mean is beta, their standard
    deviation abs(gamma). A trigger that forces its class upon any image does so through activations far outside that
    range; cut to beta +- ``stds`` * abs(gamma), it has to outvote the image as any other feature does. No data, no
    training, and clean accuracy stays (docs/defences/activation-bounds.md measures it).

    The idea of bounding activations against backdoors is that of Wang, Xiang, Miller and Kesidis ("MM-BD: Post-Training
    Detection of Backdoor Attacks with Arbitrary Backdoor Pattern Types Using a Maximum Margin Statistic", IEEE S&P
    2024), who learn the bounds from clean images. Deviation: ours are read from the network.

    Args:
        network: In eval mode, on its device.
        stds: Half the width of what is let through, in standard deviations. 3 was chosen on the demo teacher and on one
            16-pixel CIFAR-10 teacher (BadNets grid).

    Returns:
        One for each BatchNorm layer with statistics; there may be none.
    """
    return ActivationBounds([_Bounds(layer, stds) for layer in tracked_batchnorms(network)])


class ActivationBounds:
    """The bounds of a network; their number is that of its bounded layers."""

    def __init__(self, bounds: Sequence[_Bounds] = ()) -> None:
        self._bounds = bounds

    def __len__(self) -> int:
        return len(self._bounds)

    @contextlib.contextmanager
    def lifted(self) -> Iterator[None]:
        """While open, the network answers as it did before."""
        for one in self._bounds:
            one.acts = False
        try:
            yield
        finally:
            for one in self._bounds:
                one.acts = True

    def built_into(self, network: nn.Module) -> nn.Module:
        """``network`` with its bounds as layers, so that they are saved and exported with it; hooks are gone."""
        layers = {one.layer: one for one in self._bounds}
        for name, module in list(network.named_modules()):
            if module in layers:
                parent, _, child = name.rpartition(".")
                setattr(network.get_submodule(parent), child, _BoundedLayer(module, layers[module]))
                layers[module].handle.remove()
        return network


class _BoundedLayer(nn.Module):
    """A BatchNorm layer and its bounds."""

    low: torch.Tensor
    high: torch.Tensor

    def __init__(self, layer: nn.Module, bounds: _Bounds) -> None:
        super().__init__()
        self.layer = layer
        low, high = bounds.ranges[torch.float32]
        self.register_buffer("low", low)
        self.register_buffer("high", high)

    def forward(self, activations: torch.Tensor) -> torch.Tensor:
        normalised: torch.Tensor = self.layer(activations)
        low, high = (by_channel(one.to(normalised.dtype), normalised) for one in (self.low, self.high))
        return normalised.clamp(low, high)


class _Bounds:
    """A forward hook that clamps ``(N, C, ...)`` activations channel by channel."""

    def __init__(self, layer: nn.Module, stds: float) -> None:
        self.acts, self.layer = True, layer
        running_var = layer.running_var
        assert isinstance(running_var, torch.Tensor)
        ones, zeros = torch.ones_like(running_var), torch.zeros_like(running_var)
        scale = layer.weight.detach().abs() if isinstance(layer.weight, torch.Tensor) else ones
        shift = layer.bias.detach() if isinstance(layer.bias, torch.Tensor) else zeros
        low, high = (shift + side * stds * scale for side in (-1, 1))
        self.ranges = {dtype: (low.to(dtype), high.to(dtype)) for dtype in _PRECISIONS}
        self.handle = layer.register_forward_hook(self)

    def __call__(self, module: nn.Module, inputs: object, output: torch.Tensor) -> torch.Tensor:
        if not self.acts:
            return output
        return clamped(output, *self.ranges[output.dtype])

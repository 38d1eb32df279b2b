"""Reading what happens inside a network while it runs, without changing its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from abd_app.distill.losses import batchnorm_distance


@contextmanager
def recorded_outputs(network: nn.Module, names: Sequence[str]) -> Iterator[list[torch.Tensor]]:
    """While open, every forward pass of ``network`` refills the yielded list with the outputs of the named modules.

    Args:
        network: Any module.
        names: Dotted names of submodules, in the order in which they run.
    """
    outputs: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: object, output: torch.Tensor) -> None:
        if len(outputs) == len(names):
            outputs.clear()
        outputs.append(output)

    handles = [network.get_submodule(name).register_forward_hook(keep) for name in names]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def batchnorm_distances(network: nn.Module) -> Iterator[list[torch.Tensor]]:
    """While open, every forward pass appends, per BatchNorm2d, how far the batch's statistics are from the stored.

    The caller clears the list between passes.
    """
    with batchnorm_readings(network, statistics_distance) as distances:
        yield distances


@contextmanager
def batchnorm_readings(
    network: nn.Module, read: Callable[[_BatchNorm, torch.Tensor], torch.Tensor]
) -> Iterator[list[torch.Tensor]]:
    """While open, every forward pass appends ``read(layer, input)`` per BatchNorm2d.

    Args:
        network: Any module.
        read: Of a layer and the ``(N, C, H, W)`` activations it is given, in whatever precision they come.
    """
    readings: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        assert isinstance(module, _BatchNorm)
        readings.append(read(module, inputs[0]))

    handles = [module.register_forward_pre_hook(keep) for module in tracked_batchnorms(network)]
    try:
        yield readings
    finally:
        for handle in handles:
            handle.remove()


def statistics_distance(layer: _BatchNorm, activations: torch.Tensor) -> torch.Tensor:
    """How far the statistics of ``(N, C, H, W)`` activations are from those that the layer stores, a scalar."""
    assert layer.running_mean is not None and layer.running_var is not None
    variance, mean = torch.var_mean(activations.float(), dim=(0, 2, 3), correction=0)
    return batchnorm_distance(mean, variance, layer.running_mean, layer.running_var)


def tracked_batchnorms(network: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm layers over images that carry statistics of the training data, converted ONNX ones included."""
    others = (nn.BatchNorm1d, nn.BatchNorm3d)
    layers = (one for one in network.modules() if isinstance(one, _BatchNorm) and not isinstance(one, others))
    return [layer for layer in layers if layer.running_mean is not None]


@contextmanager
def frozen_batchnorm(network: nn.Module) -> Iterator[None]:
    """While open, BatchNorm normalises by its stored statistics and does not learn new ones."""
    layers = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.train(mode)

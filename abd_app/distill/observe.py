"""Reading what happens inside a network while it runs, without changing its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from abd_app.distill.channelwise import scaled
from abd_app.distill.losses import batchnorm_distance
from abd_app.networks.batchnorm import tracked_batchnorms


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
    """While open, every forward pass appends, per layer, how far the batch's statistics are from the stored.

    Of those that :func:`tracked_batchnorms` gives. The caller clears the list between passes.
    """
    with batchnorm_readings(network, statistics_distance) as distances:
        yield distances


@contextmanager
def batchnorm_readings(
    network: nn.Module, read: Callable[[_BatchNorm, torch.Tensor], torch.Tensor]
) -> Iterator[list[torch.Tensor]]:
    """While open, every forward pass appends ``read(layer, input)`` for each layer of :func:`tracked_batchnorms`.

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
    mean, variance = _ChannelStatistics.apply(activations)
    return batchnorm_distance(mean, variance, layer.running_mean, layer.running_var)


class _ChannelStatistics(torch.autograd.Function):
    """Mean and biased variance of each channel, ``(C,)`` float32 both, of ``(N, C, H, W)`` activations.

    The numbers of ``torch.var_mean`` on float32 activations, but in a fraction of the time, by the kernel that
    BatchNorm uses, and with a gradient of one multiplication and addition, rounded to the activations' own precision.
    """

    @staticmethod
    def forward(ctx: Any, activations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        # Running statistics in float32, which nobody reads, have it answer in float32.
        unread = torch.zeros(2, activations.shape[1], device=activations.device)
        mean, variance = torch.batch_norm_update_stats(activations, unread[0], unread[1], 0.0)
        ctx.save_for_backward(activations, mean)
        return mean, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_mean: torch.Tensor, by_variance: torch.Tensor) -> torch.Tensor:
        activations, mean = ctx.saved_tensors
        slope = 2 * by_variance * (activations.shape[1] / activations.numel())
        start = by_mean * (activations.shape[1] / activations.numel()) - slope * mean
        return scaled(activations, slope, start)


@contextmanager
def frozen_batchnorm(network: nn.Module) -> Iterator[None]:
    """While open, BatchNorm normalises by its stored statistics and does not learn new ones."""
    layers = _batchnorms(network)
    modes = [layer.training for layer in layers]
    for layer in layers:
        layer.eval()
    try:
        yield
    finally:
        for layer, mode in zip(layers, modes, strict=True):
            layer.train(mode)


class SeenBatch:
    """A pass in training mode that runs once, and that BatchNorm can be told again without running.

    A network in training mode answers the same batch the same way each time, but every pass moves the running
    statistics: :meth:`again` moves them as the pass would.

    Args:
        network: Whose BatchNorm layers in training mode see the batch.
        run: The pass.

    Attributes:
        output: What the pass gave; the running statistics are as before it.
    """

    def __init__(self, network: nn.Module, run: Callable[[], torch.Tensor]) -> None:
        self._layers = [layer for layer in _batchnorms(network) if layer.training and layer.running_mean is not None]
        before, momenta = self._running(), [layer.momentum for layer in self._layers]
        self._momenta = [float(momentum or 0) for momentum in momenta for _ in range(2)]
        for layer in self._layers:
            layer.momentum = 1.0  # what the layers hold after the pass is the batch's own statistics
        try:
            self.output = run()
        finally:
            for layer, momentum in zip(self._layers, momenta, strict=True):
                layer.momentum = momentum
        self._batch = self._running()
        for buffer, value in zip(self._buffers(), before, strict=True):
            buffer.copy_(value)

    def again(self) -> None:
        """Moves the running statistics towards those of the batch, as another pass would."""
        if self._layers:
            torch._foreach_lerp_(self._buffers(), self._batch, self._momenta)

    def _running(self) -> list[torch.Tensor]:
        return [buffer.clone() for buffer in self._buffers()]

    def _buffers(self) -> list[torch.Tensor]:
        pairs = [(layer.running_mean, layer.running_var) for layer in self._layers]
        return [buffer for pair in pairs for buffer in pair if buffer is not None]


def _batchnorms(network: nn.Module) -> list[_BatchNorm]:
    return [module for module in network.modules() if isinstance(module, _BatchNorm)]

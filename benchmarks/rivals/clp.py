"""Channel Lipschitz pruning: no data, no training (Zheng et al., "Data-free Backdoor Removal", ECCV 2022)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import nn


@dataclass(frozen=True)
class PrunedLayer:
    """What happened to one BatchNorm layer: how many of its ``channels`` were pruned."""

    name: str
    channels: int
    pruned: int


def prune_channels(
    network: nn.Module, example: torch.Tensor, *, u: float = 3.0
) -> tuple[nn.Module, tuple[PrunedLayer, ...]]:
    """A copy of ``network`` without the channels that amplify their input much more than their neighbours.

    A channel k of a convolution with BatchNorm behind it has the bound sigma_k, see :func:`channel_bounds`. Where
    sigma_k > mean + u * std over the layer's channels (std with n - 1, as the authors compute it), gamma and beta of
    the channel become 0.

    Deviation: which BatchNorm reads which convolution is observed in a forward pass. The authors take the convolution
    defined before it, which in a pre-activation network pairs sums of a shortcut with one of their summands.

    Args:
        network: Eval mode; its inputs are ``example``.
        example: A few images, ``(N, C, H, W)``.
        u: 3 in the paper for CIFAR-10; smaller prunes more.

    Returns:
        The copy, and what happened to each layer in the order in which they run.
    """
    pruned = copy.deepcopy(network).eval()
    layers = []
    for name, convolution_name in normalised_convolutions(pruned, example):
        layer, convolution = pruned.get_submodule(name), pruned.get_submodule(convolution_name)
        assert isinstance(layer, nn.BatchNorm2d) and isinstance(convolution, nn.Conv2d)
        bounds = channel_bounds(convolution, layer)
        chosen = bounds > bounds.mean() + u * bounds.std()
        layer.weight.data[chosen] = 0
        layer.bias.data[chosen] = 0
        layers.append(PrunedLayer(name, len(bounds), int(chosen.sum())))
    return pruned, tuple(layers)


def channel_bounds(convolution: nn.Conv2d, layer: nn.BatchNorm2d) -> torch.Tensor:
    """Upper bound of each channel's Lipschitz constant, ``(K,)``.

    The largest singular value of the channel's kernel as a matrix (inputs x height * width), times
    abs(gamma_k / sqrt(var_k + eps)).
    """
    assert layer.running_var is not None
    kernels = convolution.weight.detach().flatten(2)
    scale = (layer.weight / (layer.running_var + layer.eps).sqrt()).detach().abs()
    return torch.linalg.matrix_norm(kernels, ord=2) * scale


def normalised_convolutions(network: nn.Module, example: torch.Tensor) -> list[tuple[str, str]]:
    """Pairs (BatchNorm, convolution) by name, where the one reads exactly what the other gave."""
    given: list[tuple[torch.Tensor, str]] = []
    pairs = []

    def keep(name: str, output: torch.Tensor) -> None:
        given.append((output, name))

    def match(name: str, activations: torch.Tensor) -> None:
        pairs.extend((name, source) for output, source in given if output is activations)

    handles = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            handles.append(module.register_forward_hook(lambda _, inputs, output, name=name: keep(name, output)))
        elif isinstance(module, nn.BatchNorm2d) and module.affine and module.running_var is not None:
            handles.append(module.register_forward_pre_hook(lambda _, inputs, name=name: match(name, inputs[0])))
    try:
        with torch.no_grad():
            network(example)
    finally:
        for handle in handles:
            handle.remove()
    return pairs

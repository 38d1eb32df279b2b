"""The BatchNorm layers of a network by which its training data is known."""

from __future__ import annotations

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def tracked_batchnorms(network: nn.Module) -> list[_BatchNorm]:
    """The BatchNorm layers over images that carry statistics of the training data, converted ONNX ones included."""
    others = (nn.BatchNorm1d, nn.BatchNorm3d)
    layers = (one for one in network.modules() if isinstance(one, _BatchNorm) and not isinstance(one, others))
    return [layer for layer in layers if layer.running_mean is not None]

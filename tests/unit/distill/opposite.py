"""A network that contradicts another."""

from __future__ import annotations

import copy

from torch import nn


def opposite(network: nn.Module) -> nn.Module:
    """A copy, hooks included, that answers the opposite, and has another last stage."""
    other = copy.deepcopy(network)
    for parameter in other.get_submodule("network.fc").parameters():
        parameter.data.neg_()
    other.get_submodule("network.block3").layer[0].conv1.weight.data.mul_(0.5)
    return other

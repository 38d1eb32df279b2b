"""The blocks compute the published formulas: the same tensors in another order would load and answer nonsense."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from abd_app.networks import catalog


def _block(name: str, path: str) -> nn.Module:
    """A block in eval mode whose BatchNorm layers do something."""
    torch.manual_seed(0)
    block = catalog.build(name, 4).get_submodule(path).eval()
    for module in block.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.running_mean is not None
            nn.init.normal_(module.running_mean)
            nn.init.normal_(module.bias)
    return block


def _part(block: nn.Module, name: str, features: torch.Tensor) -> torch.Tensor:
    answer: torch.Tensor = block.get_submodule(name)(features)
    return answer


@pytest.mark.parametrize(("name", "path"), [("preact-resnet18", "layer2.0"), ("preact-resnet18", "layer1.1")])
def test_preactivation_block_projects_the_activated_input(name: str, path: str) -> None:
    block = _block(name, path)
    features = torch.randn(2, 64, 8, 8)
    activated = F.relu(_part(block, "bn1", features))
    shortcut = _part(block, "shortcut.0", activated) if path == "layer2.0" else features
    hidden = F.relu(_part(block, "bn2", _part(block, "conv1", activated)))
    assert torch.allclose(block(features), shortcut + _part(block, "conv2", hidden), atol=1e-5)


@pytest.mark.parametrize("path", ["layer2.0", "layer1.1"])
def test_residual_block_activates_the_sum(path: str) -> None:
    block = _block("resnet18-cifar", path)
    features = torch.randn(2, 64, 8, 8)
    hidden = F.relu(_part(block, "bn1", _part(block, "conv1", features)))
    residual = _part(block, "bn2", _part(block, "conv2", hidden))
    assert torch.allclose(block(features), F.relu(residual + _part(block, "shortcut", features)), atol=1e-5)


def test_preactivation_network_has_no_norm_behind_its_last_block() -> None:
    network = catalog.build("preact-resnet18", 4).eval()
    images = torch.rand(1, 3, 16, 16)
    features = _part(network, "conv1", images)
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        features = _part(network, stage, features)
    assert torch.allclose(network(images), _part(network, "linear", features.mean(dim=(2, 3))), atol=1e-5)

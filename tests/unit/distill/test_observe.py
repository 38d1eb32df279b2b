"""Watching a network leaves no trace in it."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from abd_app.distill.observe import (
    SeenBatch,
    batchnorm_distances,
    frozen_batchnorm,
    recorded_outputs,
    statistics_distance,
)


def _hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def _network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU())


def test_every_pass_refills_the_recorded_outputs() -> None:
    network = _network().eval()
    with recorded_outputs(network, ["0", "2"]) as outputs:
        network(torch.zeros(1, 3, 2, 2))
        last = network(torch.ones(1, 3, 2, 2))
        assert len(outputs) == 2
        assert torch.equal(outputs[1], last)
        assert torch.equal(outputs[0], network[0](torch.ones(1, 3, 2, 2)))
    assert _hooks(network) == 0


def test_hooks_go_also_when_the_pass_fails() -> None:
    network = _network()
    for watch in (recorded_outputs(network, ["0"]), batchnorm_distances(network)):
        with pytest.raises(RuntimeError), watch:
            network(torch.zeros(1, 5, 2, 2))
    assert _hooks(network) == 0


def test_batchnorm_distances_are_those_of_the_inputs_and_carry_a_gradient() -> None:
    network = nn.Sequential(nn.BatchNorm2d(2)).eval()
    layer = network[0]
    layer.running_mean = torch.tensor([0.5, -0.5])
    layer.running_var = torch.tensor([2.0, 1.0])
    images = torch.randn(6, 2, 3, 3, requires_grad=True)
    with batchnorm_distances(network) as distances:
        network(images)
        network(images)
    assert len(distances) == 2
    mean, variance = images.detach().mean((0, 2, 3)), images.detach().var((0, 2, 3), correction=0)
    by_hand = (mean - layer.running_mean).norm() + (variance - layer.running_var).norm()
    assert distances[0].item() == pytest.approx(by_hand.item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(distances[0], images)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("precision", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
def test_distance_and_gradient_are_those_of_the_plain_formula(
    layout: torch.memory_format, precision: torch.dtype, error: float
) -> None:
    torch.manual_seed(0)
    layer = nn.BatchNorm2d(5)
    images = (2 * torch.randn(16, 5, 7, 6) + 1.5).to(precision, memory_format=layout).requires_grad_()
    variance, mean = torch.var_mean(images.float(), dim=(0, 2, 3), correction=0)
    plain = mean.norm() + (variance - 1).norm()
    distance = statistics_distance(layer, images)
    assert distance.dtype == torch.float32 and distance.item() == pytest.approx(plain.item(), rel=1e-5)
    (gradient,), (expected,) = (torch.autograd.grad(one, [images]) for one in (distance, plain))
    assert gradient.stride() == images.stride() and gradient.dtype == precision
    assert (gradient - expected).abs().max() < error * expected.abs().max()


def test_frozen_batchnorm_keeps_its_statistics_and_gets_its_mode_back() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.BatchNorm2d(3).eval(), nn.Dropout(0.5)).train()
    network[1].eval()
    with frozen_batchnorm(network):
        network(torch.randn(4, 3, 2, 2) + 5)
        assert network[2].training
    assert network[0].running_mean.abs().sum() == 0
    assert [module.training for module in network] == [True, False, True]
    network(torch.randn(4, 3, 2, 2) + 5)
    assert network[0].running_mean.abs().sum() > 0


def test_a_seen_batch_moves_the_running_statistics_as_another_pass_would() -> None:
    torch.manual_seed(2)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, momentum=0.3), nn.ReLU(), nn.Conv2d(4, 2, 3)).train()
    twin, images, others = copy.deepcopy(network), torch.rand(8, 3, 6, 6), torch.rand(8, 3, 6, 6) * 5
    before = network[1].running_mean.clone()
    seen = SeenBatch(network, lambda: network(images))
    assert torch.equal(network[1].running_mean, before) and network[1].momentum == 0.3
    assert torch.equal(seen.output, twin(images))
    seen.again()
    for _ in range(2):
        network(others), seen.again()
        twin(others), twin(images)
    for name in ("running_mean", "running_var"):
        assert torch.allclose(getattr(network[1], name), getattr(twin[1], name), atol=1e-6)
    assert not torch.allclose(network[1].running_mean, before, atol=1e-2)

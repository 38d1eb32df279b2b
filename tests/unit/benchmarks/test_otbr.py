"""The rival OTBR: what is pruned, where neurons are carried, what is fused; numbers by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))

from rivals.otbr import repaired, weight_changes

from abd_app.networks.wide_resnet import WideResNet


def _two_layers() -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(2, 2, 1, bias=False), nn.Conv2d(2, 1, 1, bias=False)).eval()
    network[0].weight.data = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).view(2, 2, 1, 1)
    network[1].weight.data = torch.tensor([[3.0, 5.0]]).view(1, 2, 1, 1)
    return network


def test_neurons_are_pruned_by_their_change_carried_and_fused() -> None:
    network = _two_layers()
    changes = {"0": torch.tensor([1.0, 3.0]), "1": torch.tensor([2.0])}
    pruned, fused = repaired(network, changes, gamma=0.4, fusion=0.5)  # one of three
    assert pruned[0].weight.flatten(1).tolist() == [[1, 0], [0, 0]]
    assert pruned[1].weight.flatten().tolist() == [3, 5]
    # Masses 1/2 and 1/2 go to 1/4 and 3/4. Costs: 0 and sqrt(5) from the first, 1 and 2 from the second. The first
    # fills its own place and gives the rest to the second, which so is a third of the first and two thirds of nothing.
    assert fused[0].weight.flatten(1)[0].tolist() == pytest.approx([1, 0])
    assert fused[0].weight.flatten(1)[1].tolist() == pytest.approx([0.5 * 1 / 3, 0.5 * 2])
    carried = [3, 3 * 1 / 3 + 5 * 2 / 3]
    assert fused[1].weight.flatten().tolist() == pytest.approx([0.5 * (3 + carried[0]), 0.5 * (5 + carried[1])])
    assert torch.equal(network[0].weight, _two_layers()[0].weight), "the network itself is left alone"


@pytest.mark.parametrize("share", [{"gamma": 0.0}, {"gamma": 0.4, "fusion": 0.0}])
def test_nothing_pruned_or_nothing_fused_is_the_network_itself(share: dict[str, float]) -> None:
    network = _two_layers()
    _, fused = repaired(network, {"0": torch.tensor([1.0, 3.0]), "1": torch.tensor([2.0])}, **share)
    assert torch.equal(fused[0].weight, network[0].weight) and torch.equal(fused[1].weight, network[1].weight)


def test_layers_before_the_first_pruned_one_stay() -> None:
    network = _two_layers()
    _, fused = repaired(network, {"0": torch.tensor([1.0, 2.0]), "1": torch.tensor([3.0])}, gamma=0.4)
    assert torch.equal(fused[0].weight, network[0].weight)
    assert fused[1].weight.flatten().tolist() == [1.5, 2.5]


def test_unlearning_noise_moves_every_neuron_of_a_copy() -> None:
    torch.manual_seed(0)
    network = WideResNet(10, 1, num_classes=4).eval().requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    kept = {"num_classes": 4, "shape": (3, 8, 8), "batch": 16, "steps": 2}
    one, same, other = (weight_changes(network, seed=seed, **kept) for seed in (0, 0, 1))
    assert len(one) == 7 and not any("hortcut" in name for name in one), "conv1 and two in each of three blocks"
    assert all((change > 0).all() for change in one.values())
    assert all(torch.equal(one[name], same[name]) and not torch.equal(one[name], other[name]) for name in one)
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert float(sum(change.sum() for change in weight_changes(network, seed=0, rate=0.0, **kept).values())) == 0


def test_the_cross_entropy_of_noise_is_climbed() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    kept = {"num_classes": 2, "shape": (1, 4, 4), "batch": 8, "rate": 2.0}
    random = torch.Generator().manual_seed(0)
    weight, velocity = network[0].weight.detach().flatten(), torch.zeros(2)
    for step in (1, 2):
        images, labels = torch.rand(8, 1, 4, 4, generator=random), torch.randint(2, (8,), generator=random)
        means = images.mean((1, 2, 3))
        wrong = (means[:, None] * weight).softmax(1) - nn.functional.one_hot(labels, 2)
        velocity = 0.9 * velocity + (means[:, None] * wrong).mean(0)
        weight = weight + 2.0 * velocity
        changes = weight_changes(network, seed=0, steps=step, **kept)
        moved = (weight - network[0].weight.detach().flatten()).abs()
        assert changes["0"].tolist() == pytest.approx(moved.tolist(), rel=1e-4)

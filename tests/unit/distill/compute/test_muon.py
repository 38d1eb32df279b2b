"""Muon makes a weight change alike in every direction; what it does not suit is left to Adam."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.muon import Muon, MuonAdam, inner_convolutions, orthogonalised
from abd_app.distill.compute.optimizers import make_adam, set_rate
from abd_app.distill.recipe import choose_recipe
from abd_app.distill.student import Student
from abd_app.networks.wide_resnet import WideResNet


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 3, groups=4), nn.Conv2d(16, 4, 1))
    return nn.Sequential(*layers).to(memory_format=torch.channels_last)


def _give_gradients(network: nn.Module, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.empty_like(parameter).copy_(torch.randn(parameter.shape, generator=random))


def test_singular_vectors_stay_and_singular_values_come_near_one() -> None:
    torch.manual_seed(0)
    for shape in ((2, 8, 30), (2, 30, 8)):
        matrices = torch.randn(shape) * torch.tensor([1.0, 1000.0])[:, None, None]
        left, _, right = torch.linalg.svd(matrices, full_matrices=False)
        core = left.mT @ orthogonalised(matrices) @ right.mT
        values = core.diagonal(dim1=1, dim2=2)
        assert values.min() > 0.6 and values.max() < 1.3
        assert (core - torch.diag_embed(values)).abs().max() < 1e-3
    assert orthogonalised(torch.zeros(1, 2, 3)).equal(torch.zeros(1, 2, 3))


def test_muon_is_the_formula_whatever_the_layout_and_the_company() -> None:
    """Three steps of weights of which two have one shape, against one at a time as published."""
    network, compute = _network(), Compute(torch.device("cpu"), bf16=False)
    network.append(nn.Conv2d(8, 16, 3))
    weights = inner_convolutions(network)
    plain = [weight.detach().clone(memory_format=torch.contiguous_format) for weight in weights]
    momenta = [torch.zeros_like(one) for one in plain]
    optimizer = Muon(weights, 0.1, compute, factor=2.0)
    for seed in range(3):
        _give_gradients(network, seed)
        for weight, momentum, mine in zip(weights, momenta, plain, strict=True):
            assert weight.grad is not None
            momentum.mul_(0.95).add_(0.05 * weight.grad)
            matrix = (0.05 * weight.grad + 0.95 * momentum).flatten(1)
            update = orthogonalised(matrix[None])[0] * 0.2 * max(matrix.shape) ** 0.5
            mine.sub_(2.0 * 0.1 * update.view_as(mine))
        optimizer.step()
    for weight, mine in zip(weights, plain, strict=True):
        assert torch.allclose(weight, mine, atol=1e-5)


def test_a_weight_that_no_answer_depends_on_stays(compute: Compute) -> None:
    network = _network()
    _give_gradients(network, 0)
    network[1].weight.grad = None
    before = [weight.detach().clone() for weight in inner_convolutions(network)]
    MuonAdam(network, 0.1, compute, factor=2.0).step()
    assert [torch.equal(*two) for two in zip(before, inner_convolutions(network), strict=True)] == [True, False]


def test_adam_has_what_is_no_inner_convolution_or_mixes_within_groups(compute: Compute) -> None:
    network, reference = _network(), _network()
    network[3].weight.requires_grad_(False)
    optimizer = MuonAdam(network, 0.1, compute, factor=2.0)
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1]
    set_rate(optimizer, 0.05)
    _give_gradients(network, 0)
    optimizer.step()
    changed = {}
    for (name, now), before in zip(network.named_parameters(), reference.parameters(), strict=True):
        by_adam = torch.allclose(
            now, before - 0.05 * torch.sign(now.grad if now.grad is not None else before), atol=1e-3
        )
        changed[name] = "Adam" if by_adam else "no" if torch.equal(now, before) else "Muon"
    weights = {name: how for name, how in changed.items() if name.endswith("weight")}
    assert weights == {"0.weight": "Adam", "1.weight": "Muon", "2.weight": "Adam", "3.weight": "no"}
    assert {how for name, how in changed.items() if name.endswith("bias")} == {"Adam"}
    optimizer.zero_grad()
    assert all(one.grad is None for one in network.parameters() if one.requires_grad)


@pytest.mark.parametrize("of_adam", [False, True], ids=["", "a run of an earlier version"])
def test_a_run_goes_on_from_its_state(compute: Compute, of_adam: bool) -> None:
    ends = []
    for interrupted in (False, True):
        network = _network()
        optimizer = MuonAdam(network, 0.1, compute, factor=2.0)
        for seed in range(4):
            if seed == 2 and (interrupted or of_adam):
                earlier = make_adam(network.parameters(), 0.1, compute)
                state = (earlier if of_adam else optimizer).state_dict()
                optimizer = MuonAdam(network, 0.1, compute, factor=2.0)
                if interrupted:
                    optimizer.load_state_dict(state)
            _give_gradients(network, seed)
            optimizer.step()
        ends.append(torch.cat([one.detach().flatten() for one in network.parameters()]))
    assert torch.equal(*ends)


@pytest.mark.parametrize(
    ("method", "effort", "kind"),
    [("ood", "quick", MuonAdam), ("fast", "quick", MuonAdam), ("ood", "paper", torch.optim.Adam)]
    + [("zskt", effort, torch.optim.Adam) for effort in ("quick", "paper")],
)
def test_which_students_learn_by_it(compute: Compute, method: str, effort: str, kind: type) -> None:
    recipe = choose_recipe(method, "abd", effort, 100)
    student = Student(WideResNet(10, 1, num_classes=4), compute, recipe)
    assert isinstance(student._optimizer, kind)
    assert isinstance(Student(nn.Linear(4, 2), compute, recipe)._optimizer, torch.optim.Adam), "no convolutions"


def test_the_recipe_says_how_far_a_step_of_muon_goes(compute: Compute) -> None:
    ways = []
    for factor in (1.0, 3.0):
        recipe = replace(choose_recipe("ood", "none", "quick", 100), muon_factor=factor)
        torch.manual_seed(0)
        student = Student(WideResNet(10, 1, num_classes=4), compute, recipe)
        (weight, *_) = inner_convolutions(student.network)
        before = weight.detach().clone()
        _give_gradients(student.network, 0)
        student.apply_gradients(0)
        ways.append(weight.detach() - before)
    assert torch.allclose(ways[1], 3 * ways[0], atol=1e-6) and ways[0].abs().max() > 1e-5

"""Optimisers get gradients in the right layout and keep their kind of rate."""

from __future__ import annotations

import torch

from abd_app.distill.device import Compute
from abd_app.distill.optimizers import MuonAdam, give_gradients, make_adam, mixes_channels, restore_optimizer, set_rate


def test_an_optimiser_keeps_its_kind_of_rate_when_it_is_restored(compute: Compute) -> None:
    saved = make_adam([torch.zeros(2, requires_grad=True)], 0.25, compute).state_dict()
    saved["param_groups"][0].update(lr=torch.tensor(0.5), capturable=True)  # as from a GPU
    optimizer = make_adam([torch.zeros(2, requires_grad=True)], 0.25, compute)
    restore_optimizer(optimizer, saved)
    assert optimizer.param_groups[0]["lr"] == 0.5 and isinstance(optimizer.param_groups[0]["lr"], float)
    assert not optimizer.param_groups[0]["capturable"]


def test_a_fused_step_is_right_whatever_layout_the_gradient_comes_in(compute: Compute) -> None:
    start, gradient = torch.zeros(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    expected = start.clone().requires_grad_()
    expected.grad = gradient
    torch.optim.Adam([expected], 0.1).step()
    weights = start.to(memory_format=torch.channels_last).requires_grad_()
    optimizer = make_adam([weights], 0.1, compute)
    give_gradients([weights], [gradient])
    assert weights.grad is not None and weights.grad.stride() == weights.stride() != gradient.stride()
    optimizer.step()
    assert torch.allclose(weights, expected, atol=1e-6)


def _muon(compute: Compute) -> tuple[MuonAdam, list[torch.Tensor]]:
    """Of a convolution in the middle of a network, in channels_last, one on images, and a bias."""
    torch.manual_seed(0)
    inside = torch.randn(8, 4, 3, 3).to(memory_format=torch.channels_last)
    weights = [one.requires_grad_() for one in (inside, torch.randn(8, 3, 3, 3), torch.randn(8))]
    assert [mixes_channels(one) for one in weights] == [True, False, False]
    return MuonAdam(weights, 0.1, compute, times=2.0), weights


def _give_gradients(weights: list[torch.Tensor], seed: int) -> list[torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    gradients = [torch.randn(one.shape, generator=random) for one in weights]
    give_gradients(weights, gradients)
    return gradients


def test_muon_turns_all_directions_of_a_weight_alike_and_adam_moves_the_others(compute: Compute) -> None:
    optimizer, weights = _muon(compute)
    before = [one.detach().clone() for one in weights]
    gradients = _give_gradients(weights, 1)
    set_rate(optimizer, 0.05)
    optimizer.step()
    step = (weights[0].detach() - before[0]).flatten(1)
    # Twice the rate, and an RMS of 0.2; singular values are alike, as far as five Newton-Schulz iterations make them.
    assert abs(step.square().mean().sqrt() / (2 * 0.05 * 0.2) - 1) < 0.25
    values = torch.linalg.svdvals(step)
    assert values.max() / values.min() < 2 < torch.linalg.svdvals(gradients[0].flatten(1)).max() / 2
    assert (step * gradients[0].flatten(1)).sum() < 0, "down"
    assert torch.allclose(weights[2], before[2] - 0.05 * gradients[2].sign(), atol=1e-4), "Adam's first step"
    optimizer.zero_grad()
    assert all(one.grad is None for one in weights)


def test_muon_goes_on_from_its_state(compute: Compute) -> None:
    ends = []
    for interrupted in (False, True):
        optimizer, weights = _muon(compute)
        for seed in range(4):
            if interrupted and seed == 2:
                state = optimizer.state_dict()
                optimizer = MuonAdam(weights, 0.1, compute, times=2.0)
                restore_optimizer(optimizer, state)
            _give_gradients(weights, seed)
            optimizer.step()
        ends.append(torch.cat([one.detach().flatten() for one in weights]))
    assert torch.equal(*ends)


def test_where_an_earlier_version_had_adam_muon_begins_anew(compute: Compute) -> None:
    optimizer, weights = _muon(compute)
    restore_optimizer(optimizer, make_adam(weights, 0.1, compute).state_dict())
    before = weights[0].detach().clone()
    _give_gradients(weights, 0)
    optimizer.step()
    assert not torch.equal(weights[0], before)

"""Optimisers get gradients in the right layout and keep their kind of rate."""

from __future__ import annotations

import torch

from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.optimizers import give_gradients, make_adam, restore_optimizer


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

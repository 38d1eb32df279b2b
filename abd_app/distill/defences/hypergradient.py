"""The gradient of an outer loss through the solution of an inner problem, by fixed-point steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

Loss = Callable[[torch.Tensor], torch.Tensor]


def fixed_point_hypergradient(
    perturbation: torch.Tensor,
    parameters: Sequence[torch.Tensor],
    *,
    inner_loss: Loss,
    outer_loss: Loss,
    steps: int = 5,
    step_size: float = 0.1,
) -> list[torch.Tensor]:
    """Total derivative of the outer loss by the parameters, the perturbation being the minimiser of the inner loss.

    With the inner step Phi(d, w) = d - step_size * dL_in/dd the implicit function theorem gives
    dL/dw = dL_out/dw + v dPhi/dw with v = v dPhi/dd + dL_out/dd, which is iterated ``steps`` times from v = 0
    (Grazzi et al., ICML 2020; as I-BAU, Zeng et al., ICLR 2022, section 4 and ABD use it). The first iteration only
    turns 0 into dL_out/dd and needs no derivative.

    Args:
        perturbation: The (approximate) solution of the inner problem, any shape.
        parameters: The outer variables, each requiring a gradient.
        inner_loss: Of the perturbation; depends on ``parameters`` too.
        outer_loss: Of the perturbation; depends on ``parameters`` too.
        steps: Fixed-point iterations K, at least 1.
        step_size: Of the inner gradient step; it must make Phi a contraction for the iteration to converge.

    Returns:
        One gradient per parameter, in its shape.
    """
    point = perturbation.detach().requires_grad_(True)
    by_point, *direct = torch.autograd.grad(outer_loss(point), [point, *parameters], materialize_grads=True)
    (inner_gradient,) = torch.autograd.grad(inner_loss(point), point, create_graph=True)
    mapped = point - step_size * inner_gradient
    adjoint = by_point
    for _ in range(steps - 1):
        (propagated,) = torch.autograd.grad(mapped, point, grad_outputs=adjoint, retain_graph=True)
        adjoint = propagated + by_point
    indirect = torch.autograd.grad(mapped, parameters, grad_outputs=adjoint, materialize_grads=True)
    return [a + b for a, b in zip(direct, indirect, strict=True)]

"""The hypergradient against problems whose answer is known in closed form."""

from __future__ import annotations

import pytest
import torch

from abd_app.distill.defences.hypergradient import fixed_point_hypergradient

# Inner: 1/2 d'Ad - d'Bw, so d*(w) = A^-1 B w. Outer: 1/2 |d - c|^2 + 1/2 g |w|^2.
_A = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)
_B = torch.tensor([[1.0, 0.0, 2.0], [0.0, -1.0, 1.0]], dtype=torch.float64)
_C = torch.tensor([0.3, -0.7], dtype=torch.float64)
_G = 0.25
_STEP = 0.4


def _problem() -> tuple[torch.Tensor, torch.Tensor]:
    weights = torch.tensor([0.5, -1.0, 2.0], dtype=torch.float64, requires_grad=True)
    return weights, torch.linalg.solve(_A, _B @ weights.detach())


def _hypergradient(weights: torch.Tensor, solution: torch.Tensor, steps: int) -> torch.Tensor:
    (gradient,) = fixed_point_hypergradient(
        solution,
        [weights],
        inner_loss=lambda d: 0.5 * d @ _A @ d - d @ _B @ weights,
        outer_loss=lambda d: 0.5 * (d - _C).square().sum() + 0.5 * _G * weights.square().sum(),
        steps=steps,
        step_size=_STEP,
    )
    return gradient


def test_many_steps_reach_the_implicit_gradient() -> None:
    weights, solution = _problem()
    exact = _G * weights.detach() + torch.linalg.solve(_A, _B).T @ (solution - _C)
    assert torch.allclose(_hypergradient(weights, solution, steps=400), exact, atol=1e-10)
    assert not torch.allclose(_hypergradient(weights, solution, steps=2), exact, atol=1e-2)


def test_the_implicit_gradient_is_what_finite_differences_see() -> None:
    weights, solution = _problem()

    def outer(values: torch.Tensor) -> float:
        d = torch.linalg.solve(_A, _B @ values)
        return float(0.5 * (d - _C).square().sum() + 0.5 * _G * values.square().sum())

    found = _hypergradient(weights, solution, steps=400)
    for i in range(3):
        shift = torch.zeros(3, dtype=torch.float64)
        shift[i] = 1e-5
        slope = (outer(weights.detach() + shift) - outer(weights.detach() - shift)) / 2e-5
        assert float(found[i]) == pytest.approx(slope, rel=1e-6)


def test_five_steps_are_five_terms_of_the_neumann_series() -> None:
    weights, solution = _problem()
    residual, jacobian = solution - _C, torch.eye(2, dtype=torch.float64) - _STEP * _A
    adjoint = sum(torch.linalg.matrix_power(jacobian.T, k) @ residual for k in range(5))
    assert isinstance(adjoint, torch.Tensor)
    by_hand = _G * weights.detach() + _STEP * _B.T @ adjoint
    assert torch.allclose(_hypergradient(weights, solution, steps=5), by_hand, atol=1e-12)


def test_a_parameter_that_only_one_loss_sees_gets_its_own_part() -> None:
    inner_only = torch.tensor([1.0, -2.0], requires_grad=True)
    outer_only = torch.tensor([3.0], requires_grad=True)
    unseen = torch.tensor([1.0], requires_grad=True)
    by_inner, by_outer, by_none = fixed_point_hypergradient(
        torch.zeros(2),
        [inner_only, outer_only, unseen],
        inner_loss=lambda d: 0.5 * (d - inner_only).square().sum(),
        outer_loss=lambda d: d.sum() * 2 + outer_only.square().sum(),
        steps=1,
        step_size=1.0,
    )
    assert by_inner.tolist() == [2.0, 2.0]
    assert by_outer.tolist() == [6.0]
    assert by_none.tolist() == [0.0]

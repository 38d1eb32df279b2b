"""Self-Retrospection as published, against a naive form that computes everything anew."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from abd_app.distill.compute.device import Compute
from abd_app.distill.defences.retrospection import PaperRetrospection
from abd_app.distill.losses import kl_mean

_STD = torch.tensor([0.3, 0.2, 0.25]).view(1, 3, 1, 1)


def _student() -> nn.Module:
    torch.manual_seed(5)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Softplus(),
        nn.Conv2d(4, 4, 3, 2), nn.Softplus(), nn.Flatten(), nn.Linear(36, 4),
    )  # fmt: skip
    with torch.no_grad():
        network[-1].weight.mul_(8)  # so that it has an opinion
    return network.train()


def _adam_minimum(loss: Callable[[torch.Tensor], torch.Tensor], start: torch.Tensor, rounds: int) -> torch.Tensor:
    point = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([point], lr=0.1)
    for _ in range(rounds):
        optimizer.zero_grad()
        loss(point).backward(inputs=[point])
        optimizer.step()
    return point.detach()


def _naive_paper_gradient(
    student: nn.Module, images: torch.Tensor, rounds: int, portion: float
) -> tuple[list[torch.Tensor], float]:
    """Everything recomputed at every use; Neumann series written out with fresh Jacobian-vector products."""

    def inner(d: torch.Tensor) -> torch.Tensor:
        return 0.001 * d.square().sum() - kl_mean(student(images + d * _STD), student(images).detach())

    solution = _adam_minimum(inner, torch.zeros_like(images[:1]), rounds)
    chosen = torch.randperm(len(images))[: max(1, int(len(images) * portion))]
    selected = torch.zeros(len(images), 1, 1, 1)
    selected[chosen] = 1
    parameters = list(student.parameters())

    def outer(d: torch.Tensor) -> torch.Tensor:
        return kl_mean(student(images + d * _STD * selected), student(images).detach())

    def mapped() -> tuple[torch.Tensor, torch.Tensor]:
        point = solution.clone().requires_grad_(True)
        (slope,) = torch.autograd.grad(inner(point), point, create_graph=True)
        return point, point - 0.1 * slope

    point = solution.clone().requires_grad_(True)
    (residual,) = torch.autograd.grad(outer(point), point)
    term, adjoint = residual, torch.zeros_like(residual)
    for _ in range(5):
        adjoint = adjoint + term
        point, image = mapped()
        (term,) = torch.autograd.grad(image, point, grad_outputs=term)
    _, image = mapped()
    implicit = torch.autograd.grad(image, parameters, grad_outputs=adjoint, allow_unused=True)
    loss = outer(solution)
    direct = torch.autograd.grad(loss, parameters)
    total = [a if b is None else a + b for a, b in zip(direct, implicit, strict=True)]
    return total, float(loss.detach())


@pytest.mark.parametrize(("count", "portion"), [(8, 0.02), (8, 0.5)])
def test_the_papers_gradient_is_that_of_a_naive_form(compute: Compute, count: int, portion: float) -> None:
    images = torch.rand(count, 3, 8, 8)
    student, twin = _student(), _student()
    torch.manual_seed(3)
    loss = PaperRetrospection(compute, _STD, rounds=4, portion=portion).add_gradient(student, images)
    torch.manual_seed(3)
    naive, naive_loss = _naive_paper_gradient(twin, images, 4, portion)
    assert float(loss) == pytest.approx(naive_loss, rel=1e-4)
    for parameter, expected in zip(student.parameters(), naive, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, expected, rtol=1e-4, atol=1e-7)


def test_the_papers_search_goes_the_same_way_in_every_memory_layout(compute: Compute) -> None:
    slope, found = torch.randn(1, 3, 8, 8), list[torch.Tensor]()
    for layout in (torch.contiguous_format, torch.channels_last):
        start = torch.zeros(2, 3, 8, 8).to(memory_format=layout)[:1]
        found.append(PaperRetrospection(compute, _STD)._search(lambda d: (d * slope).sum(), start))
    assert found[0].abs().mean() > 0.1
    assert torch.allclose(*found, atol=1e-5)


def test_the_papers_gradient_is_added_to_what_is_there(compute: Compute) -> None:
    images, student, twin = torch.rand(8, 3, 8, 8), _student(), _student()
    for parameter in twin.parameters():
        parameter.grad = torch.ones_like(parameter)
    for network in (student, twin):
        torch.manual_seed(3)
        PaperRetrospection(compute, _STD, rounds=2).add_gradient(network, images)
    for alone, added in zip(student.parameters(), twin.parameters(), strict=True):
        assert alone.grad is not None and added.grad is not None
        assert torch.allclose(alone.grad + 1, added.grad, atol=1e-6)


def test_the_papers_search_makes_the_student_change_its_mind(compute: Compute) -> None:
    student, images = _student(), torch.rand(16, 3, 8, 8)
    retrospection = PaperRetrospection(compute, _STD, rounds=15)

    def change(delta: torch.Tensor) -> torch.Tensor:
        return kl_mean(student(images + delta * _STD), clean)

    clean = student(images).detach()
    delta = retrospection._search(lambda d: 0.001 * d.square().sum() - change(d), torch.zeros_like(images[:1]))
    assert delta.shape == (1, 3, 8, 8)
    with torch.no_grad():
        found, random = (float(change(d)) for d in (delta, delta[:, :, torch.randperm(8)][..., torch.randperm(8)]))
    assert found > 1.5 * random > 0

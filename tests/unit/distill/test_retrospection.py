"""Self-Retrospection: the published form against a naive one, ours against what it promises."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from abd_app.distill.device import Compute
from abd_app.distill.losses import distillation_loss, kl_mean
from abd_app.distill.observe import frozen_batchnorm
from abd_app.distill.retrospection import PaperRetrospection, UniversalRetrospection, random_boxes

_STD = torch.tensor([0.3, 0.2, 0.25]).view(1, 3, 1, 1)


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _student() -> nn.Module:
    torch.manual_seed(5)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Softplus(), nn.Conv2d(4, 4, 3, 2), nn.Softplus(), nn.Flatten(),
        nn.Linear(36, 4),
    )  # fmt: skip
    with torch.no_grad():
        network[-1].weight.mul_(8)  # so that it has an opinion
    return network.train()


def _naive_paper_gradient(
    student: nn.Module, images: torch.Tensor, rounds: int, portion: float
) -> tuple[list[torch.Tensor], float]:
    """Everything recomputed at every use; Neumann series written out with fresh Jacobian-vector products."""
    delta = torch.zeros_like(images[:1], requires_grad=True)
    optimizer = torch.optim.Adam([delta], lr=0.1)

    def inner(d: torch.Tensor) -> torch.Tensor:
        return 0.001 * d.square().sum() - kl_mean(student(images + d * _STD), student(images).detach())

    for _ in range(rounds):
        optimizer.zero_grad()
        inner(delta).backward(inputs=[delta])
        optimizer.step()
    solution = delta.detach()
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
    loss = PaperRetrospection(compute, _STD, rounds=4, portion=portion).add_gradient(student, images, torch.empty(0))
    torch.manual_seed(3)
    naive, naive_loss = _naive_paper_gradient(twin, images, 4, portion)
    assert float(loss) == pytest.approx(naive_loss, rel=1e-4)
    for parameter, expected in zip(student.parameters(), naive, strict=True):
        assert parameter.grad is not None
        assert torch.allclose(parameter.grad, expected, rtol=1e-3, atol=1e-6)


def test_the_papers_gradient_is_added_to_what_is_there(compute: Compute) -> None:
    images, student, twin = torch.rand(8, 3, 8, 8), _student(), _student()
    for parameter in twin.parameters():
        parameter.grad = torch.ones_like(parameter)
    for network in (student, twin):
        torch.manual_seed(3)
        PaperRetrospection(compute, _STD, rounds=2).add_gradient(network, images, torch.empty(0))
    for alone, added in zip(student.parameters(), twin.parameters(), strict=True):
        assert alone.grad is not None and added.grad is not None
        assert torch.allclose(alone.grad + 1, added.grad, atol=1e-6)


def test_the_papers_search_makes_the_student_change_its_mind(compute: Compute) -> None:
    student, images = _student(), torch.rand(16, 3, 8, 8)
    retrospection = PaperRetrospection(compute, _STD, rounds=15)
    delta = retrospection._search(student, images)
    assert delta.shape == (1, 3, 8, 8)
    with torch.no_grad():
        found, random = (
            float(kl_mean(student(images + d * _STD), student(images)))
            for d in (delta, delta[:, :, torch.randperm(8)][..., torch.randperm(8)])
        )
    assert found > 1.5 * random > 0


def _universal(compute: Compute, seed: int = 0, **options: float) -> UniversalRetrospection:
    return UniversalRetrospection(compute, (3, 8, 8), 4, _random(seed), **options)  # type: ignore[arg-type]


def _step(retrospection: UniversalRetrospection, student: nn.Module, seed: int = 0) -> float:
    images = torch.rand(8, 3, 8, 8, generator=_random(seed))
    with torch.no_grad(), frozen_batchnorm(student):
        anchor = student(images)
    return float(retrospection.add_gradient(student, images, anchor))


def test_adversaries_stay_in_the_ball_and_in_the_pixel_box(compute: Compute) -> None:
    retrospection, student = _universal(compute, ball=0.07, rate=0.9), _student()
    starts = retrospection.pictures.clone(), retrospection.patches.clone()
    for i in range(6):
        _step(retrospection, student, i)
        assert retrospection.pictures.abs().max() <= 0.07 + 1e-7
        assert 0 <= float(retrospection.patches.min()) <= float(retrospection.patches.max()) <= 1
    assert not torch.equal(retrospection.pictures, starts[0]) and not torch.equal(retrospection.patches, starts[1])


def test_the_start_is_random_not_the_minimum(compute: Compute) -> None:
    retrospection = _universal(compute)
    assert retrospection.pictures.std() > 0.05 and retrospection.patches.std() > 0.2
    assert not torch.equal(retrospection.pictures, _universal(compute, seed=1).pictures)


def test_adversaries_move_uphill(compute: Compute) -> None:
    student, retrospection = _student(), _universal(compute, rate=0.2)
    losses = [_step(retrospection, student, i % 4) for i in range(40)]
    assert sum(losses[-8:]) > 1.5 * sum(losses[:8])


def test_batchnorm_keeps_its_statistics(compute: Compute) -> None:
    student = _student()
    before = copy.deepcopy(student[1].state_dict())
    _step(_universal(compute), student)
    assert all(torch.equal(before[name], value) for name, value in student[1].state_dict().items())
    assert student.training and student[1].training


def test_our_gradient_is_added_to_what_is_there(compute: Compute) -> None:
    student, twin = _student(), _student()
    for parameter in twin.parameters():
        parameter.grad = torch.full_like(parameter, 2.0)
    for network in (student, twin):
        _step(_universal(compute), network)
    changed = 0.0
    for alone, added in zip(student.parameters(), twin.parameters(), strict=True):
        assert alone.grad is not None and added.grad is not None
        assert torch.allclose(alone.grad + 2, added.grad, atol=1e-5)
        changed += float(alone.grad.abs().sum())
    assert changed > 0


def test_only_the_portion_is_perturbed_and_pulled_to_the_anchor(compute: Compute) -> None:
    """With adversaries that do nothing the loss is the distillation loss of the first half of the batch."""
    student = _student().eval()
    retrospection = _universal(compute, ball=0.0, portion=0.5)
    images, anchor = torch.rand(8, 3, 8, 8), torch.randn(8, 4)
    patches = retrospection.patches
    torch.manual_seed(0)
    found = 0.0
    for seed in range(40):  # until a draw has no patch in it
        retrospection._generator = _random(seed)
        retrospection.patches = patches
        state = _random(seed)
        torch.randint(4, (4,), generator=state)
        if not (torch.rand(4, 1, 1, 1, generator=state) < 0.5).any():
            found = float(retrospection.add_gradient(student, images, anchor))
            break
    expected = distillation_loss(student(images[:4]), anchor[:4], 4.0).mean().item()
    assert found == pytest.approx(expected, rel=1e-5)


def test_a_restored_set_of_adversaries_is_the_same_and_its_own(compute: Compute) -> None:
    first, second = _universal(compute, seed=1), _universal(compute, seed=2)
    _step(first, _student())
    state = first.state_dict()
    second.load_state_dict(state)
    assert torch.equal(first.pictures, second.pictures) and torch.equal(first.patches, second.patches)
    _step(second, _student())
    assert torch.equal(state["pictures"], first.state_dict()["pictures"])
    assert not state["pictures"].requires_grad


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_oblong_images_and_many_classes_work(compute: Compute, channels: int) -> None:
    retrospection = UniversalRetrospection(compute, (channels, 8, 12), 70, _random())
    assert len(retrospection.pictures) == 64
    student = nn.Sequential(nn.Flatten(), nn.Linear(channels * 96, 70)).train()
    loss = retrospection.add_gradient(student, torch.rand(5, channels, 8, 12), torch.randn(5, 70))
    assert loss.isfinite()


def test_random_boxes_are_boxes_of_the_stated_sides_anywhere_in_the_image() -> None:
    height, width = 40, 20
    masks = random_boxes(600, height, width, _random())
    assert masks.shape == (600, 1, height, width)
    assert masks.unique().tolist() == [0.0, 1.0]
    rows, columns = masks[:, 0].amax(2), masks[:, 0].amax(1)
    assert torch.equal(masks[:, 0], rows[:, :, None] * columns[:, None, :])
    for spans, side in ((rows, height), (columns, width)):
        lengths = spans.sum(1)
        assert float(lengths.min()) >= 0.1 * side and float(lengths.max()) <= 0.35 * side
        assert float(lengths.max()) - float(lengths.min()) >= 0.2 * side
        assert (spans.diff(dim=1) > 0).sum(1).max() <= 1, "one run each"
        assert spans[:, 0].any() and spans[:, -1].any(), "the border is reached"
    tiny = random_boxes(50, 8, 8, _random())
    assert tiny[:, 0].amax(2).sum(1).min() == 2, "never thinner than two pixels"

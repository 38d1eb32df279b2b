"""Self-Retrospection in our form: what it promises of its adversaries and of the student's gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.device import Compute
from abd_app.distill.losses import distillation_loss
from abd_app.distill.observe import frozen_batchnorm
from abd_app.distill.universal import UniversalAdversaries, UniversalRetrospection, random_boxes
from abd_app.teacher import Teacher

_CPU = torch.device("cpu")


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _student() -> nn.Sequential:
    torch.manual_seed(5)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Softplus(),
        nn.Conv2d(4, 4, 3, 2), nn.Softplus(), nn.Flatten(), nn.Linear(36, 4),
    )  # fmt: skip
    with torch.no_grad():
        network[-1].weight.mul_(8)
    return network.train()


def _universal(compute: Compute, seed: int = 0, **options: Any) -> UniversalRetrospection:
    return UniversalRetrospection(compute, (3, 8, 8), 4, _random(seed), **options)


def _step(retrospection: UniversalRetrospection, student: nn.Module, seed: int = 0) -> float:
    images = torch.rand(8, 3, 8, 8, generator=_random(seed))
    with torch.no_grad(), frozen_batchnorm(student):
        anchor = student(images)
    return float(retrospection.add_gradient(student, images, anchor))


def _adversaries(**options: Any) -> UniversalAdversaries:
    options = {"ball": 0.1, "device": _CPU, "generator": _random(), **options}
    return UniversalAdversaries((3, 8, 8), 4, **options)


def test_adversaries_stay_in_the_ball_and_in_the_pixel_box(compute: Compute) -> None:
    retrospection, student = _universal(compute, ball=0.07, rate=0.9), _student()
    adversaries = retrospection.adversaries
    starts = adversaries.pictures.clone(), adversaries.canvases.clone()
    for i in range(6):
        _step(retrospection, student, i)
        assert adversaries.pictures.abs().max() <= 0.07 + 1e-7
        assert adversaries.canvases.min() >= 0 and adversaries.canvases.max() <= 1
    assert not torch.equal(adversaries.pictures, starts[0]) and not torch.equal(adversaries.canvases, starts[1])


def test_the_start_is_random_not_the_minimum(compute: Compute) -> None:
    first, other = (_universal(compute, seed=seed).adversaries for seed in (0, 1))
    assert 0.02 < first.pictures.std() < 0.04 and first.canvases.std() > 0.2
    assert not torch.equal(first.pictures, other.pictures)


def test_adversaries_move_uphill_on_the_student(compute: Compute) -> None:
    student, images, anchor = _student().eval(), torch.rand(64, 3, 8, 8), torch.randn(64, 4)
    for seed in range(5):
        retrospection = _universal(compute, seed=seed, rate=0.05)
        state = retrospection.adversaries._random.get_state()
        losses = []
        for _ in range(3):  # the same places and choices every time
            retrospection.adversaries._random.set_state(state)
            losses.append(float(retrospection.add_gradient(student, images, anchor)))
        assert losses == sorted(losses) and losses[0] < losses[2]


def test_perturbed_images_are_a_shifted_image_or_one_with_a_box_of_a_canvas() -> None:
    adversaries, images = _adversaries(), torch.rand(60, 3, 8, 8, generator=_random(3))
    perturbed, which, is_picture = adversaries.perturb(images)
    perturbed = perturbed.detach()
    assert perturbed.min() >= 0 and perturbed.max() <= 1
    assert 0 < int(is_picture.sum()) < 60
    for i in range(60):
        shifted = (images[i] + adversaries.pictures[which[i]]).clamp(0, 1).detach()
        canvas = adversaries.canvases[which[i]].detach()
        if is_picture[i]:
            assert torch.allclose(perturbed[i], shifted)
        else:
            changed = (perturbed[i] - images[i]).abs().amax(0) > 1e-6
            assert 0 < int(changed.sum()) < 32
            assert torch.allclose(perturbed[i][:, changed], canvas[:, changed])


def test_the_search_makes_the_teacher_answer_with_each_adversarys_class(  # the danger that is to be unlearned
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    answering = AnsweringTeacher(make_teacher().network, compute)
    retrospection = _universal(compute, ball=0.3, search_steps=40)
    images = torch.randint(0, 256, (300, 3, 8, 8), dtype=torch.uint8, generator=_random(1))
    before = retrospection.adversaries.weights.clone()
    losses = [float(one["search"]) for one in retrospection.search(answering, images)]
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert not torch.equal(retrospection.adversaries.weights, before)


def test_adversaries_are_drawn_by_a_power_of_their_success(compute: Compute) -> None:
    adversaries = _adversaries()
    winner = int(adversaries.targets[2])

    class Dazzled(nn.Module):
        """Answers the winner's class where something bright is in the image, and another one elsewhere."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            bright = images.flatten(1).amax(1) > 0.9
            classes = torch.where(bright, winner, (winner + 1) % 4)
            return nn.functional.one_hot(classes, 4).float()

    with torch.no_grad():
        adversaries.canvases.fill_(0.5)
        adversaries.canvases[2] = 1.0
        adversaries.pictures.zero_()
    answering = AnsweringTeacher(Dazzled(), compute)
    adversaries.prefer_successful(answering, [torch.full((400, 3, 8, 8), 0.3)])
    assert adversaries.weights[1, 2] == 1.0
    assert (adversaries.weights[0] < 0.01).all() and (adversaries.weights[1, [0, 1, 3]] < 0.01).all()
    _, which, is_picture = adversaries.perturb(torch.rand(200, 3, 8, 8))
    assert (which[~is_picture] == 2).float().mean() > 0.95


def test_batchnorm_keeps_its_statistics(compute: Compute) -> None:
    student = _student()
    before = copy.deepcopy(student[1].state_dict())
    _step(_universal(compute), student)
    assert all(torch.equal(before[name], value) for name, value in student[1].state_dict().items())
    assert student.training and student[1].training


def test_the_gradient_is_added_to_what_is_there(compute: Compute) -> None:
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


def test_only_the_portion_is_perturbed_and_pulled_to_the_anchor(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With adversaries that do nothing the loss is the distillation loss of the first images of the batch."""
    student, images, anchor = _student().eval(), torch.rand(8, 3, 8, 8), torch.randn(8, 4)
    monkeypatch.setattr("abd_app.distill.universal.random_boxes", lambda count, *_: torch.zeros(count, 1, 8, 8))
    for portion, count in ((0.5, 4), (0.25, 2), (0.01, 1)):
        retrospection = _universal(compute, ball=0.0, portion=portion, weight=0.7, temperature=4.0)
        retrospection.adversaries.weights = torch.full((2, 4), 0.5)
        found = retrospection.add_gradient(student, images, anchor)
        expected = 0.7 * 0.5 * distillation_loss(student(images[:count]), anchor[:count], 4.0).mean().item()
        assert found.item() == pytest.approx(expected, rel=1e-5)


def test_a_restored_set_of_adversaries_is_the_same_and_its_own(compute: Compute) -> None:
    first, second = _universal(compute, seed=1), _universal(compute, seed=2)
    _step(first, _student())
    state = first.state_dict()
    kept = copy.deepcopy(state)
    second.load_state_dict(state)
    assert all(torch.equal(value, second.state_dict()[name]) for name, value in state.items())
    _step(second, _student())
    assert all(torch.equal(value, kept[name]) and not value.requires_grad for name, value in state.items())


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_oblong_images_and_many_classes_work(compute: Compute, channels: int) -> None:
    retrospection = UniversalRetrospection(compute, (channels, 8, 12), 70, _random())
    targets = retrospection.adversaries.targets
    assert len(targets) == len(retrospection.adversaries.pictures) == 64 == len(targets.unique())
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
        assert float(lengths.min()) >= 0.12 * side - 0.5 and float(lengths.max()) <= 0.28 * side + 0.5
        assert float(lengths.max()) - float(lengths.min()) >= 0.1 * side
        assert (spans.diff(dim=1) > 0).sum(1).max() <= 1, "one run each"
        assert spans[:, 0].any() and spans[:, -1].any(), "the border is reached"
    assert random_boxes(50, 8, 8, _random())[:, 0].amax(2).sum(1).min() == 2, "never thinner than two pixels"

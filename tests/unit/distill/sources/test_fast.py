"""``fast``: inversion by the teacher's statistics with a generator that is kept warm."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from abd_app.distill.augment import shift_and_flip
from abd_app.distill.device import Compute
from abd_app.distill.losses import kl_per_image
from abd_app.distill.observe import batchnorm_distances
from abd_app.distill.sources.base import GeneratorStep
from abd_app.distill.sources.fast import FastSettings, WarmInversionSource
from abd_app.teacher import Teacher
from tests.unit.distill.sources.inversion import new_source
from tests.unit.distill.sources.inversion import new_student as _student
from tests.unit.distill.sources.inversion import seeded as _random

_SETTINGS = FastSettings(
    batch_size=8, drawn=12, generator_steps=2, student_steps=3, warm_up_rounds=2, noise=16, capacity=40
)


def _source(teacher: Teacher, compute: Compute, settings: FastSettings = _SETTINGS) -> WarmInversionSource:
    return new_source(WarmInversionSource, teacher, compute, settings)


def _hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def test_rounds_warm_up_and_then_feed_the_student_from_the_pool(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    source = _source(teacher, compute)
    items = source.batches(_student(teacher))
    kinds: list[Any] = [next(items) for _ in range(12)]
    draws, lessons = [True] * 2, [False] * 3
    assert [isinstance(item, GeneratorStep) for item in kinds] == draws * 2 + lessons + draws + lessons
    batch = kinds[4]
    assert batch.images.shape == (8, 3, 8, 8) and batch.suspicious is None
    assert 0 <= float(batch.images.min()) <= float(batch.images.max()) <= 1
    assert torch.allclose(batch.answer.logits, teacher.network(batch.images), atol=1e-5)
    assert not batch.answer.logits.requires_grad
    assert len(source.pool) == 36


def test_the_losses_are_the_stated_ones(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher = make_teacher()
    source, student = _source(teacher, compute), _student(teacher).eval()
    source._rounds = _SETTINGS.warm_up_rounds
    noise, labels = torch.randn(12, 16), torch.randint(4, (12,))
    source._random.manual_seed(6)
    with batchnorm_distances(teacher.network) as distances:
        losses, images = source._losses(student, noise, labels, distances)
    shown = shift_and_flip(images, _random(6), 1)
    with batchnorm_distances(teacher.network) as fresh:
        answer = teacher.network(shown)
    reply = student(shown)
    agrees = (reply.argmax(1) == answer.argmax(1)).float()
    expected = {
        "statistics": torch.stack(fresh).sum(),
        "one_hot": 0.5 * F.cross_entropy(answer, labels),
        "adversarial": -(kl_per_image(reply, answer) * 4 * agrees).mean(),
    }
    assert losses.keys() == expected.keys()
    assert agrees.any()
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-4), name


def test_the_student_is_not_asked_while_warming_up(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher = make_teacher()
    items = _source(teacher, compute).batches(_student(teacher))
    kinds: list[Any] = [next(items) for _ in range(9)]
    assert "adversarial" not in kinds[0].losses
    assert "adversarial" in kinds[7].losses


def test_drawing_leaves_no_gradient_and_no_statistics_in_the_student(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    student = _student(teacher)
    before = copy.deepcopy(student.state_dict())
    items = _source(teacher, compute).batches(student)
    for _ in range(10):
        next(items)
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    assert all(parameter.grad is None for parameter in student.parameters())


def test_closing_in_the_middle_of_a_round_takes_the_hooks_away(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    student = _student(teacher)
    items: Any = _source(teacher, compute).batches(student)
    next(items)
    assert _hooks(teacher.network) > 0
    assert not student.network.bn1.training
    items.close()
    assert _hooks(teacher.network) == 0
    assert student.network.bn1.training


def test_images_come_nearer_to_the_statistics(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher = make_teacher()
    settings = FastSettings(
        batch_size=8, drawn=32, generator_steps=40, warm_up_rounds=9, noise=16, capacity=40, rate=2e-2
    )
    items = _source(teacher, compute, settings).batches(_student(teacher))
    distances = [float(next(items).losses["statistics"]) for _ in range(40)]  # type: ignore[union-attr]
    assert distances[-1] < 0.85 * distances[0]


def test_samples_before_the_first_round_are_the_cold_generators(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    source = _source(teacher, compute)
    sample = source.sample(5)
    assert sample.shape == (5, 3, 8, 8) and sample.dtype == torch.uint8 and len(source.pool) == 0


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 12, 3), (10, 8, 1)])
def test_grey_and_oblong_images(
    make_teacher: Callable[..., Teacher], compute: Compute, height: int, width: int, channels: int
) -> None:
    teacher = make_teacher(height=height, width=width, channels=channels)
    source = _source(teacher, compute)
    items = source.batches(_student(teacher))
    batch: Any = [next(items) for _ in range(5)][-1]
    assert batch.images.shape == (8, channels, height, width)
    assert source.sample(3).shape == (3, channels, height, width)


def test_a_source_saved_between_rounds_goes_on_with_the_same_numbers(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher, student = make_teacher(), _student(make_teacher())
    first, second = (_source(teacher, compute) for _ in range(2))
    items = first.batches(student)
    for _ in range(7):
        next(items)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    others = second.batches(student)
    for _ in range(5):
        one, other = next(items), next(others)
        if isinstance(one, GeneratorStep):
            assert isinstance(other, GeneratorStep)
            assert {name: float(loss) for name, loss in one.losses.items()} == {
                name: float(loss) for name, loss in other.losses.items()
            }
        else:
            assert not isinstance(other, GeneratorStep) and torch.equal(one.images, other.images)

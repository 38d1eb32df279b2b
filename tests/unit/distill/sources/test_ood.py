"""``ood``: a pool of labelled patches from which every class is drawn equally often."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences.vaccine import ShufflingVaccine
from abd_app.distill.sources.base import GeneratorStep
from abd_app.distill.sources.ood import BalancedPatchSource, PatchSettings
from abd_app.errors import RunFailedError
from abd_app.teacher import Teacher

_SETTINGS = PatchSettings(batch_size=8, capacity=256, first=96, drawn=48, student_steps=3)
_STUDENT = nn.Identity()


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _pictures(channels: int = 3) -> torch.Tensor:
    small = torch.rand(2, channels, 12, 12, generator=_random(1))
    smooth = nn.functional.interpolate(small, size=(64, 64), mode="bilinear").clamp(0, 1)
    return (smooth * 255).to(torch.uint8)


def _source(
    teacher: Teacher, compute: Compute, settings: PatchSettings = _SETTINGS, vaccinated: bool = False
) -> BalancedPatchSource:
    spec, answering = teacher.spec, AnsweringTeacher(teacher.network, compute)
    source = BalancedPatchSource(
        answering,
        _pictures(spec.channels),
        size=(spec.height, spec.width),
        num_classes=spec.num_classes,
        generator=_random(),
        settings=settings,
    )
    if vaccinated:
        example = torch.rand(2, spec.channels, spec.height, spec.width)
        source.vaccine = ShufflingVaccine(
            teacher.network, example=example, generator=_random(2), block_names=teacher.block_names
        )
        answering.share_trunk(source.vaccine.trunk)
    return source


def test_patches_are_labelled_first_and_then_in_between(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    source = _source(make_teacher(), compute)
    items = source.batches(_STUDENT)
    kinds = [isinstance(next(items), GeneratorStep) for _ in range(10)]
    assert kinds == [True, True, False, False, False, True, False, False, False, True]
    assert len(source.pool) == 4 * 48


def test_a_batch_carries_the_teachers_own_answer_to_its_pixels(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    source = _source(teacher, compute, vaccinated=True)
    assert source.vaccine is not None
    items = source.batches(_STUDENT)
    batches: list[Any] = [item for item in (next(items) for _ in range(30)) if not isinstance(item, GeneratorStep)]
    for batch in batches:
        assert batch.images.shape == (8, 3, 8, 8)
        assert 0 <= float(batch.images.min()) <= float(batch.images.max()) <= 1
        assert torch.allclose(batch.answer.logits, teacher.network(batch.images), atol=1e-4)
        answer = source._teacher(batch.images)
        assert not source.vaccine.suspicious(batch.images, answer).any()


def test_suspicious_patches_are_held_back_but_only_where_there_is_a_vaccine(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    judge = _source(teacher, compute, vaccinated=True)
    judged = {}
    for vaccinated in (True, False):
        source = _source(teacher, compute, vaccinated=vaccinated)
        items = source.batches(_STUDENT)
        batches: list[Any] = [item for item in (next(items) for _ in range(30)) if not isinstance(item, GeneratorStep)]
        images = torch.cat([batch.images for batch in batches])
        assert judge.vaccine is not None
        judged[vaccinated] = bool(judge.vaccine.suspicious(images, judge._teacher(images)).any())
        assert bool(source._suspicious.any()) == vaccinated
    assert judged == {True: False, False: True}


def test_a_pool_in_which_nothing_is_trusted_ends_the_run_with_a_message(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    source = _source(make_teacher(), compute)
    list(source.filled(0))
    assert int(source.sizes().sum()) == 96
    source._suspicious[:95] = True
    source._weights = None
    images, _ = source.balanced(4)
    assert torch.equal(images, images[:1].expand_as(images)) and int(source.sizes().sum()) == 1
    source._suspicious[95], source._weights = True, None
    with pytest.raises(RunFailedError, match="No patch is left") as failure:
        source.balanced(4)
    assert "All 96" in failure.value.why and "--picture" in failure.value.remedy


def test_classes_come_equally_often_but_very_rare_ones_do_not(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    source = _source(make_teacher(), compute, PatchSettings(capacity=1000, least_share=0.05))
    source.pool.add(torch.zeros(1000, 3, 8, 8))
    labels = torch.tensor([0] * 700 + [1] * 200 + [2] * 90 + [3] * 10)
    source._logits = nn.functional.one_hot(labels).float()
    counts = torch.bincount(labels[source._balanced(20_000)], minlength=4) / 20_000
    expected = torch.tensor([1.0, 1.0, 1.0, 10 / 50]) / 3.2
    assert torch.allclose(counts, expected, atol=0.015)


def test_both_the_pictures_and_the_pool_give_new_patches(
    make_teacher: Callable[..., Teacher], compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _source(make_teacher(), compute)
    cut, kinds = source._cutter.cut, []
    monkeypatch.setattr(source._cutter, "cut", lambda *args: kinds.append("cut") or cut(*args))
    items = source.batches(_STUDENT)
    passes = sum(isinstance(next(items), GeneratorStep) for _ in range(60))
    assert 0 < len(kinds) < passes


def test_a_pool_that_is_full_forgets_the_oldest_and_keeps_answers_in_step(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    source = _source(teacher, compute, PatchSettings(batch_size=8, capacity=100, first=96, drawn=48, student_steps=1))
    items = source.batches(_STUDENT)
    for _ in range(12):
        next(items)
    assert len(source.pool) == 100
    places = torch.arange(100)
    expected = teacher.network(source.pool.at(places).float() / 255)
    assert torch.allclose(source._logits, expected, atol=1e-4)


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 12, 3), (10, 8, 1)])
def test_grey_and_oblong_images(
    make_teacher: Callable[..., Teacher], compute: Compute, height: int, width: int, channels: int
) -> None:
    source = _source(make_teacher(height=height, width=width, channels=channels), compute)
    items = source.batches(_STUDENT)
    batch: Any = [next(items) for _ in range(8)][-1]
    assert batch.images.shape == (8, channels, height, width)
    sample = source.sample(7)
    assert sample.shape == (7, channels, height, width) and sample.dtype == torch.uint8


def test_a_source_saved_before_a_labelling_pass_goes_on_with_the_same_numbers(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    first, second = (_source(teacher, compute, vaccinated=True) for _ in range(2))
    items = first.batches(_STUDENT)
    for _ in range(5):
        next(items)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    others = second.batches(_STUDENT)
    for _ in range(12):
        one, other = next(items), next(others)
        assert isinstance(one, GeneratorStep) == isinstance(other, GeneratorStep)
        if not isinstance(one, GeneratorStep) and not isinstance(other, GeneratorStep):
            assert torch.equal(one.images, other.images)
            assert torch.equal(one.answer.logits, other.answer.logits)
    assert first._suspicious.any()
    assert torch.equal(first._suspicious, second._suspicious)


def test_a_source_that_has_drawn_already_draws_from_the_pool_that_it_is_given(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    first, second = (_source(teacher, compute) for _ in range(2))
    for source, items in ((first, 12), (second, 4)):
        batches = source.batches(_STUDENT)
        for _ in range(items):
            next(batches)
        source.balanced(4)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    assert all(torch.equal(one, other) for one, other in zip(first.balanced(64), second.balanced(64), strict=True))

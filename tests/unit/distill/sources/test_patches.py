"""``ood`` as published: every batch is new, labelled as it comes, and marked by the vaccine."""

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
from abd_app.distill.sources import patches
from abd_app.distill.sources.patches import PatchSource
from abd_app.teacher import Teacher

_STUDENT = nn.Identity()


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _source(teacher: Teacher, compute: Compute, batch_size: int = 20) -> PatchSource:
    spec = teacher.spec
    small = torch.rand(2, spec.channels, 12, 12, generator=_random(1))
    pictures = (nn.functional.interpolate(small, size=(64, 64), mode="bilinear").clamp(0, 1) * 255).to(torch.uint8)
    answering = AnsweringTeacher(teacher.network, compute)
    return PatchSource(answering, pictures, size=(spec.height, spec.width), generator=_random(), batch_size=batch_size)


def test_every_batch_is_new_and_carries_the_teachers_answer(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    items = _source(teacher, compute).batches(_STUDENT)
    first, second = [next(items) for _ in range(2)]
    for batch in (first, second):
        assert batch.images.shape == (20, 3, 8, 8) and batch.suspicious is None
        assert 0 <= float(batch.images.min()) <= float(batch.images.max()) <= 1
        assert torch.allclose(batch.answer.logits, teacher.network(batch.images), atol=1e-5)
        assert not batch.answer.logits.requires_grad
    assert not torch.isclose(first.images, second.images).flatten(1).all(1).any()


def test_the_vaccine_marks_what_survives(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher = make_teacher()
    source = _source(teacher, compute, batch_size=64)
    vaccine = source.vaccine = ShufflingVaccine(
        teacher.network, example=torch.rand(2, 3, 8, 8), generator=_random(2), block_names=teacher.block_names
    )
    source._teacher.share_trunk(vaccine.trunk)
    batch: Any = next(source.batches(_STUDENT))
    assert torch.equal(batch.suspicious, vaccine.suspicious(batch.images, source._teacher(batch.images)))
    assert batch.suspicious.any() and not batch.suspicious.all()


def test_batches_are_mixed_and_samples_are_not(
    make_teacher: Callable[..., Teacher], compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = _source(make_teacher(), compute)
    monkeypatch.setattr(patches, "cutmix", lambda images, generator: torch.zeros_like(images))
    assert next(source.batches(_STUDENT)).images.abs().sum() == 0
    assert source.sample(7).float().std() > 5


def test_one_batch_has_crops_of_several_sizes(
    make_teacher: Callable[..., Teacher], compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, counts = _source(make_teacher(), compute), []
    cut = source._cutter.cut
    monkeypatch.setattr(
        source._cutter, "cut", lambda count, random, soften: counts.append((count, soften)) or cut(count, random)
    )
    for count in (1, 20, 512):
        counts.clear()
        assert source.sample(count).shape == (count, 3, 8, 8)
        assert sum(number for number, _ in counts) == count and len(counts) <= 8
        assert not any(soften for _, soften in counts), "the published transforms do not blur"
    assert len(counts) == 8


def test_a_source_that_goes_on_gives_the_same_patches(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    first, second = (_source(make_teacher(), compute) for _ in range(2))
    items = first.batches(_STUDENT)
    next(items)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    one: Any = next(items)
    other: Any = next(second.batches(_STUDENT))
    assert torch.equal(one.images, other.images)

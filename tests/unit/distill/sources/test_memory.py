"""What the sources keep and draw of large images fits the memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.device import Compute
from abd_app.distill.sources import augment, fast
from abd_app.distill.sources.augment import portions
from abd_app.distill.sources.fast import FastSettings, InvertedPatchSource
from abd_app.distill.sources.ood import BalancedPatchSource, PatchSettings
from abd_app.distill.sources.patches import PatchSource
from abd_app.teacher import Teacher


@pytest.mark.parametrize(("side", "classes"), [(16, 10), (64, 1000), (512, 10), (1024, 1000), (224, 21_841)])
def test_images_and_logits_take_at_most_a_gibibyte(side: int, classes: int) -> None:
    pool = FastSettings(inverted=128).fitted((3, side, side), classes)
    assert pool.capacity * (3 * side**2 + 4 * classes) <= 2**30
    assert pool.first <= pool.capacity
    assert max(pool.drawn, pool.inverted) <= pool.capacity / 4, "the pool is not all new in every round"
    if side <= 64:
        assert pool == FastSettings(inverted=128)


def test_a_small_pool_of_small_images_is_left_as_it_was_asked_for() -> None:
    asked = PatchSettings(capacity=100, first=96, drawn=48)
    assert asked.fitted((3, 8, 8), 4) == asked


def test_large_images_are_drawn_in_portions_and_small_ones_at_once() -> None:
    for side in (8, 64, 128):
        assert portions(512, (side, side)) == [512]
    assert portions(512, (224, 224)) == [128] * 4
    assert portions(341, (512, 512)) == [31] * 11
    for count in (1, 85, 500):
        parts = portions(count, (1024, 1024))
        assert sum(parts) == count and 0 < min(parts) <= max(parts) <= 8


@pytest.mark.parametrize("kind", ["ood", "paper"])
def test_no_more_patches_than_fit_are_floats_at_once(
    make_teacher: Callable[..., Teacher], compute: Compute, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Whether they are cut, mixed from the pool, labelled, or drawn for a check."""
    monkeypatch.setattr(augment, "_PIXELS_AT_ONCE", 16 * 64)
    teacher = make_teacher()
    answering, seen = AnsweringTeacher(teacher.network, compute), list[int]()
    teacher.network.register_forward_pre_hook(lambda _, given: seen.append(len(given[0])))
    pictures = torch.randint(256, (2, 3, 48, 48), dtype=torch.uint8)
    options: dict[str, Any] = {"size": (8, 8), "generator": torch.Generator().manual_seed(0)}
    source: Any
    if kind == "ood":
        settings = PatchSettings(batch_size=8, capacity=200, first=96, drawn=48)
        source = BalancedPatchSource(answering, pictures, num_classes=4, settings=settings, **options)
    else:
        source = PatchSource(answering, pictures, batch_size=8, **options)
    cut = source._cutter.cut
    monkeypatch.setattr(source._cutter, "cut", lambda count, *a, **b: seen.append(count) or cut(count, *a, **b))
    assert source.sample(50).shape == (50, 3, 8, 8)
    items = source.batches(nn.Identity())
    for _ in range(60):
        next(items)
    assert 8 <= max(seen) <= 16
    if kind == "ood":
        assert len(source.pool) == 4 * 48, "as many as are to be drawn"


def test_pictures_are_kept_as_they_are_and_patches_are_those_of_their_floats() -> None:
    whole = torch.randint(256, (3, 3, 64, 64), dtype=torch.uint8)
    cutter, by_floats = (augment.PatchCutter(pictures, height=8, width=8) for pictures in (whole, whole.float() / 255))
    assert cutter._pyramid[0] is whole, "large ones would take gibibytes more"
    assert len(cutter._pyramid) == 3
    for seed in range(6):
        ours, theirs = (one.cut(16, torch.Generator().manual_seed(seed)) for one in (cutter, by_floats))
        assert torch.equal(ours, theirs)


class _MadeUpMemory:
    """A device on which a pass takes a byte for each image that a network is shown."""

    def __init__(self, network: nn.Module, free: int) -> None:
        self.free, self.tried, self._seen = free, list[int](), 0
        network.register_forward_pre_hook(lambda _, given: self._note(len(given[0])))

    def _note(self, count: int) -> None:
        self._seen = max(self._seen, count)

    def peak_bytes(self, run: Callable[[], object]) -> int:
        self._seen = 0
        with torch.random.fork_rng([]):
            run()
        self.tried.append(self._seen)
        return self._seen

    def free_bytes(self) -> int:
        return self.free


def _inverting(teacher: Teacher, compute: Compute) -> InvertedPatchSource:
    """Forty images in a round, and a pool that holds all."""
    return InvertedPatchSource(
        AnsweringTeacher(teacher.network, compute),
        torch.randint(256, (2, 3, 48, 48), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)),
        size=(8, 8),
        num_classes=4,
        generator=torch.Generator().manual_seed(0),
        settings=FastSettings(batch_size=8, capacity=400, first=48, drawn=48, inverted=40, inversion_steps=2),
    )


@pytest.mark.parametrize(("free", "at_once"), [(1000, 40), (30, 20), (20, 14), (0, 2)])
def test_as_many_images_are_inverted_at_once_as_memory_holds(
    make_teacher: Callable[..., Teacher], compute: Compute, monkeypatch: pytest.MonkeyPatch, free: int, at_once: int
) -> None:
    teacher, largest, pools = make_teacher(), list[int](), []
    made_up = _MadeUpMemory(teacher.network, free)
    teacher.network.register_forward_pre_hook(lambda _, given: largest.append(given[0].requires_grad * len(given[0])))
    for measured in (True, False):
        monkeypatch.setattr(fast, "memory_of", lambda device: made_up if measured else None)  # noqa: B023
        source = _inverting(teacher, compute)
        list(source.filled(0))
        list(source._invert(None))
        largest.clear()
        list(source._invert(None))
        assert max(largest) == (at_once if measured else 40) and len(source.pool) == 48 + 2 * 40
        pools.append(source.pool)
        said = [finding.title for finding in source._teacher.microbatches.findings()]
        small = measured and at_once < 40
        assert [title.startswith("Images are inverted ") for title in said] == [True] * small
    assert made_up.tried == [8, 16], "measured once"
    if at_once == 40:
        assert torch.equal(*(pool.at(torch.arange(48 + 80)) for pool in pools)), "a trial leaves no trace"


@pytest.mark.parametrize(("free", "trials"), [(1000, 4), (20, 2)])
def test_a_source_that_goes_on_keeps_the_size_of_its_portions(
    make_teacher: Callable[..., Teacher], compute: Compute, monkeypatch: pytest.MonkeyPatch, free: int, trials: int
) -> None:
    """Another size would give another student; where all were inverted at once memory is measured again."""
    teacher = make_teacher()
    made_up = _MadeUpMemory(teacher.network, free)
    monkeypatch.setattr(fast, "memory_of", lambda device: made_up)
    before, goes_on = (_inverting(teacher, compute) for _ in range(2))
    list(before.filled(0))
    list(before._invert(None))
    goes_on.load_state_dict(before.state_dict())
    list(goes_on._invert(None))
    assert goes_on._at_once == before._at_once
    assert len(made_up.tried) == trials

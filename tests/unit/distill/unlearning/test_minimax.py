"""Adversaries that lead a teacher whose weights stay, as it was before it had bounds."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from abd_app.distill.answering import Answer, AnsweringTeacher
from abd_app.distill.compute import microbatch
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences.bounds import ActivationBounds
from abd_app.distill.unlearning.adversaries import Adversaries
from abd_app.distill.unlearning.minimax import led
from abd_app.events import FindingMade
from tests.unit.distill.planted import TARGET, coloured_images, new_retrospection


def _led(compute: Compute, *, most: int | None = None, **changes: Any) -> tuple[Any, Adversaries, list[float]]:
    """A retrospection whose teacher was handed to :func:`led`, what was moved, and the losses."""
    retrospection, network = new_retrospection(compute, **({"steps": 60} | changes))
    retrospection.search.microbatches.most = most
    before = copy.deepcopy(network.state_dict())
    pool = retrospection._make_pool()
    list(pool.filled(0))
    marks = retrospection._new_marks((TARGET,))
    how = retrospection._settings, retrospection.search.microbatches
    losses = [float(one["leading"]) for one in led(retrospection._teacher, marks, pool, *how)]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items()), "weights stay"
    return retrospection, marks, losses


@torch.no_grad()
def _share_led(retrospection: Any, marks: Adversaries) -> float:
    """The share of new images of other classes that they lead to the target."""
    images = coloured_images(400, seed=9)
    own = retrospection._teacher(images).logits.argmax(1)
    perturbed, _ = marks.perturb(images, own)
    return float((retrospection._teacher(perturbed).logits.argmax(1) == TARGET)[own != TARGET].float().mean())


def test_they_lead_images_to_the_target_in_the_end(compute: Compute) -> None:
    retrospection, marks, losses = _led(compute)
    at_first = retrospection._new_marks((TARGET,))
    assert len(losses) == 60 and sum(losses[-5:]) < 0.8 * sum(losses[:5])
    assert _share_led(retrospection, marks) > 2 * _share_led(retrospection, at_first) > 0
    state = marks.state_dict()
    assert state["pictures"].shape == state["canvases"].shape == (retrospection._settings.shown, 3, 8, 8)


def test_in_portions_they_move_as_in_one(compute: Compute) -> None:
    whole, portions = (_led(compute, most=most, steps=3) for most in (None, 7))
    assert portions[2] == pytest.approx(whole[2], rel=1e-4)
    for name, value in whole[1].state_dict().items():
        torch.testing.assert_close(portions[1].state_dict()[name], value, atol=1e-4, rtol=0)


def test_it_is_the_teacher_without_its_bounds_that_is_asked(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    happened = []

    @contextlib.contextmanager
    def lifted(self: ActivationBounds) -> Iterator[None]:
        happened.append("lifted")
        yield
        happened.append("back")

    asked = AnsweringTeacher.__call__

    def ask(self: AnsweringTeacher, images: torch.Tensor) -> Answer:
        happened.append("asked")
        return asked(self, images)

    monkeypatch.setattr(microbatch, "memory_of", lambda device: None)  # no trials, which ask, too
    retrospection, _ = new_retrospection(compute, steps=2)
    pool = retrospection._make_pool()
    list(pool.filled(0))
    monkeypatch.setattr(ActivationBounds, "lifted", lifted)
    monkeypatch.setattr(AnsweringTeacher, "__call__", ask)
    how = retrospection._settings, retrospection.search.microbatches
    assert len(list(led(retrospection._teacher, retrospection._new_marks((TARGET,)), pool, *how))) == 2
    assert happened == ["lifted", "asked", "back"] * 2


def test_memory_that_runs_out_on_the_way_gives_the_same_marks(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the unlearning, which needs other memory, begins as if nothing had been."""
    _, whole, _ = _led(compute, steps=2)
    asked = AnsweringTeacher.__call__

    def ask(self: AnsweringTeacher, images: torch.Tensor) -> Answer:
        if images.requires_grad and len(images) > 20:
            raise torch.OutOfMemoryError(f"Tried to allocate memory for {len(images)} images.")
        return asked(self, images)

    monkeypatch.setattr(AnsweringTeacher, "__call__", ask)
    retrospection, halved, _ = _led(compute, steps=2)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(halved.state_dict()[name], value, atol=1e-4, rtol=0)
    assert retrospection.search.microbatches.most == 16 and retrospection.microbatches.most is None


def test_unlearning_takes_as_many_images_as_before_where_leading_ran_out(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its passes need other memory: those that lead have no gradients of weights."""
    retrospection, network = new_retrospection(compute, steps=3, how_far=0.5)
    asked = AnsweringTeacher.__call__

    def ask(self: AnsweringTeacher, images: torch.Tensor) -> Answer:
        frozen = not any(parameter.requires_grad for parameter in network.parameters())
        if frozen and images.requires_grad and len(images) > 20:
            raise torch.OutOfMemoryError(f"Tried to allocate memory for {len(images)} images.")
        return asked(self, images)

    monkeypatch.setattr(AnsweringTeacher, "__call__", ask)
    assert sum("leading" in one for one in retrospection.run()) == 3
    assert retrospection.search.microbatches.most is not None and retrospection.microbatches.most is None
    told = [event.finding.title for event in retrospection.report() if isinstance(event, FindingMade)]
    assert "The teacher is searched with 16 images at a time" in told


def test_leading_counts_in_how_far_the_run_is(compute: Compute) -> None:
    retrospection, _ = new_retrospection(compute, steps=7)
    with_marks = retrospection.most_steps()
    retrospection._marks = False
    assert with_marks - retrospection.most_steps() == 7


def test_steps_of_inversion_count_in_how_far_the_run_is(compute: Compute) -> None:
    most = []
    for steps in (5, 8):
        retrospection, _ = new_retrospection(compute, renewals=2, inversion_steps=steps)
        retrospection._inverts = retrospection.search._may_trade = True
        most.append(retrospection.most_steps())
    # Unlearning may be done twice, once for each of two searches; the second has images of its own before.
    assert most[1] - most[0] == 3 * (2 * 2 + retrospection.search._renewals)

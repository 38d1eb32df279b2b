"""The loop: an event for every step, phases in order, the same numbers from the same seed, and runs that go on."""

from __future__ import annotations

import copy
import io
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from abd_app.distill.assemble import assemble
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences import vaccine, voting
from abd_app.distill.loop import Distillation
from abd_app.distill.recipe import Recipe, choose_recipe
from abd_app.distill.sources.cmi import CmiSettings
from abd_app.distill.sources.fast import FastSettings
from abd_app.distill.sources.ood import PatchSettings
from abd_app.distill.unlearning import bending, margins
from abd_app.errors import RunFailedError
from abd_app.events import (
    Event,
    FindingMade,
    ImagesDrawn,
    PhaseAdvanced,
    PhaseStarted,
    StepDone,
    TargetSearched,
    VaccineChecked,
)
from abd_app.teacher import Teacher
from tests.short_unlearning import SHORT_UNLEARNING, shorten_searches

_FAST = FastSettings(drawn=16, first=32, inverted=8, inversion_steps=2, student_steps=5, capacity=64)
METHODS = ("ood", "cmi", "fast", "zskt")
_CMI = CmiSettings(drawn=16, noise=16, features=16, bank=64, capacity=64)

Make = Callable[..., Distillation]


def _recipe(method: str, steps: int = 20, **changes: Any) -> Recipe:
    short = {"batch_size": 8, "unlearning": SHORT_UNLEARNING, "epoch": (2, 5)}
    return replace(choose_recipe(method, "abd", "quick", steps), **(short | changes))


@pytest.fixture
def make(make_teacher: Callable[..., Teacher], compute: Compute, picture: str, monkeypatch: pytest.MonkeyPatch) -> Make:
    """Distillations of one teacher; the vaccine is accepted at the second trial, and a class stands out."""
    shorten_searches(monkeypatch)
    monkeypatch.setattr(vaccine, "CHECK_IMAGES", 100)
    ratios = itertools.cycle([0.0, 0.5])
    monkeypatch.setattr(vaccine, "tail_ratio", lambda divergence: next(ratios))
    monkeypatch.setattr(voting, "FEWEST", 0.0)
    monkeypatch.setattr(voting, "TIMES_CHANCE", 0.0)
    monkeypatch.setattr(margins, "SIGNIFICANT", 1.1)
    teacher = make_teacher()

    def make(recipe: Recipe, seed: int = 0, **options: Any) -> Distillation:
        usual = {"student_name": "wrn-10-1", "picture": picture, "compute": compute}
        usual |= {"fast": _FAST, "cmi": _CMI, "patches": PatchSettings(drawn=32, first=64)}
        return assemble(teacher, recipe, seed=seed, **(usual | options))

    return make


def _weights(distillation: Distillation) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in distillation.student.network.state_dict().items()}


def _same(first: Distillation, second: Distillation) -> bool:
    return all(torch.equal(a, b) for a, b in zip(_weights(first).values(), _weights(second).values(), strict=True))


def _phases(events: list[Event]) -> list[str]:
    return [event.phase for event in events if isinstance(event, PhaseStarted)]


def _shares(events: list[Event]) -> dict[str, list[float]]:
    """What phases without steps said of how far they are."""
    phase, shares = "", dict[str, list[float]]()
    for event in events:
        if isinstance(event, PhaseStarted):
            phase = event.phase
        elif isinstance(event, PhaseAdvanced):
            shares.setdefault(phase, []).append(event.share)
    return shares


@pytest.mark.parametrize("method", METHODS)
def test_every_optimiser_step_is_an_event_and_phases_come_in_order(make: Make, method: str) -> None:
    distillation = make(_recipe(method))
    start = _weights(distillation)
    events = list(distillation.run())
    steps = [event for event in events if isinstance(event, StepDone)]
    assert sorted({event.step for event in steps} - {0}) == list(range(1, 21))
    assert [event.step for event in steps] == sorted(event.step for event in steps)
    assert len(steps) > 20, "the generator's steps are events too"
    assert all(event.total_steps == 20 and event.progress == event.step / 20 for event in steps)
    assert {event.role for event in steps} == {"student"}
    check, unlearning = ["vaccine check", "distilling"], "self-retrospection"
    later = method == "cmi"  # has images to check the vaccine on only then
    expected = [unlearning, "warm-up", *check] if later else [*check, unlearning, "distilling"]
    filling = ["first images", "distilling"] if method in ("ood", "fast") else []  # the others draw as they go
    assert _phases(events) == ["warm-up", *expected, *filling]
    for phase, shares in _shares(events).items():
        assert shares == sorted(shares) and 0 < shares[-1] <= 1, phase
    assert _shares(events).keys() == {unlearning, check[0], *filling[:1]}
    assert not filling or _shares(events)["first images"][-1] == 1
    assert sum(isinstance(event, TargetSearched) for event in events) == 1
    assert sum(isinstance(event, VaccineChecked) for event in events) == 1
    assert {"margin", "unlearning", "retention"} <= {name for event in steps for name in event.losses}
    assert steps[-1].losses.keys() == {"distillation"}
    assert distillation.step == 20
    assert not torch.equal(start["network.fc.weight"], _weights(distillation)["network.fc.weight"])


def test_what_is_drawn_is_shown_with_the_teachers_classes(make: Make) -> None:
    (drawn,) = [event for event in make(_recipe("ood", 3)).run() if isinstance(event, ImagesDrawn)]
    assert drawn.images.shape == (48, 8, 8, 3) and drawn.images.dtype.name == "uint8"
    assert drawn.step == 1 and len(drawn.labels) == len(drawn.suspicious) == 48
    assert set(drawn.labels) <= set(range(4))
    assert drawn.images.std() > 10


def test_the_vaccine_judges_the_images_of_ood_from_the_first_batch(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voting.VotingVaccine, "suspicious", lambda self, images, answer: images[:, 0, 0, 0] > 0.5)
    distillation = make(_recipe("ood", 4))
    seen = []
    learn = distillation._learn
    distillation._learn = lambda batch: seen.append(batch.images) or learn(batch)  # type: ignore[method-assign,assignment,return-value,func-returns-value]
    (drawn,) = [event for event in distillation.run() if isinstance(event, ImagesDrawn)]
    assert all((images[:, 0, 0, 0] <= 0.5).all() for images in seen) and len(seen) == 4
    assert list(drawn.suspicious) == [image[0, 0, 0] > 127 for image in drawn.images]
    assert any(drawn.suspicious)


def test_a_vaccine_that_is_not_accepted_says_so_and_does_not_act(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaccine, "tail_ratio", lambda divergence: 0.01)
    distillation = make(_recipe("ood", 2, vaccine="mean", retrospection="none"))
    events = list(distillation.run())
    (checked,) = [event for event in events if isinstance(event, VaccineChecked)]
    assert not checked.accepted and checked.trials == 8 and checked.layers
    (finding,) = [event.finding for event in events if isinstance(event, FindingMade)]
    assert finding.severity == "warning" and "1.0 %" in finding.detail
    assert distillation._source.vaccine is None


def test_without_defences_there_is_neither_check_nor_retrospection(make: Make) -> None:
    events = list(make(_recipe("ood", 4).undefended(), role="twin").run())
    assert _phases(events) == ["distilling", "first images", "distilling"]
    assert {event.role for event in events if isinstance(event, StepDone | PhaseAdvanced)} == {"twin"}


@pytest.mark.parametrize("method", METHODS)
def test_the_same_seed_gives_the_same_numbers_and_another_seed_others(make: Make, method: str) -> None:
    first, second, other = (make(_recipe(method, 12), seed=seed) for seed in (3, 3, 4))
    for distillation in (first, second, other):
        list(distillation.run())
    assert _same(first, second)
    assert not _same(first, other)


@pytest.mark.parametrize("method", METHODS)
def test_closing_leaves_no_hook_behind(make: Make, method: str) -> None:
    distillation = make(_recipe(method).undefended())
    watched = (distillation._teacher.network, distillation.student.network)
    before = [_hooks(network) for network in watched]
    for stop_after in (1, 2, 9):
        events: Any = distillation.run()
        for _ in range(stop_after):
            next(events)
        events.close()
        assert [_hooks(network) for network in watched] == before
    assert all(module.training for module in distillation.student.network.modules())


@pytest.mark.parametrize(
    ("method", "saved_at", "changes"),
    [
        ("ood", 10, {}),
        ("ood", 7, {}),
        ("fast", 7, {"vaccine_step": 0}),
        ("zskt", 10, {}),
        ("zskt", 17, {"retrospection": "paper", "retrospection_step": 15, "retrospection_rate": 5e-4}),
        ("ood", 14, {"balanced": False, "retrospection": "paper", "retrospection_step": 16}),
        ("cmi", 5, {}),
        ("cmi", 7, {"vaccine_step": 0}),
        ("cmi", 18, {"retrospection": "paper", "retrospection_step": 16, "retrospection_rate": 1e-4}),
        ("fast", 5, {}),
        ("fast", 15, {"vaccine_step": 0}),
    ],
)
def test_a_run_that_goes_on_ends_with_the_student_of_an_uninterrupted_one(
    make: Make, method: str, saved_at: int, changes: dict[str, Any]
) -> None:
    recipe = _recipe(method, **changes)
    whole = make(recipe, seed=1)
    list(whole.run())
    stored, first = io.BytesIO(), make(recipe, seed=1)
    for event in first.run():
        if isinstance(event, StepDone) and event.step == saved_at:
            torch.save(first.state_dict(), stored)
            break
    stored.seek(0)
    second = make(recipe, seed=1)
    torch.manual_seed(99)
    second.load_state_dict(torch.load(stored, weights_only=True))
    events = list(second.run())
    assert [event.step for event in events if isinstance(event, StepDone)][-1] == recipe.steps
    assert not any(isinstance(event, VaccineChecked) for event in events), "the vaccine was kept"
    assert "warm-up" not in _phases(events)
    assert ("self-retrospection" in _phases(events)) == (recipe.retrospection == "paper"), "the teacher's was kept"
    assert _same(whole, second)


@pytest.mark.parametrize("stands_out", [True, False])
def test_only_a_class_that_stands_out_is_unlearned_and_a_finding_says_which(
    make: Make, monkeypatch: pytest.MonkeyPatch, stands_out: bool
) -> None:
    monkeypatch.setattr(margins, "SIGNIFICANT", 1.1 if stands_out else 0.0)
    monkeypatch.setattr(bending, "_LEAST_SHARE", 1.1)
    distillation = make(_recipe("ood", 4))
    before = copy.deepcopy(distillation._teacher.network.state_dict())
    events = list(distillation.run())
    opinion = distillation._teacher.second_opinion
    assert any("unlearning" in event.losses for event in events if isinstance(event, StepDone)) == stands_out
    assert (opinion is not None) == stands_out
    if opinion is not None:
        after = opinion.network.state_dict()
        assert any(not torch.equal(before[name], value) for name, value in after.items())
    (searched,) = [event for event in events if isinstance(event, TargetSearched)]
    best = searched.classes[searched.margins.index(max(searched.margins))]
    assert searched.target == (best if stands_out else None) and len(searched.unlearned) == stands_out
    assert len(searched.margins) == len(searched.bounded_margins) == 4
    part = "alone with its activations bounded; p = 1" if stands_out else "No class can be driven unusually far"
    (finding,) = [e.finding for e in events if isinstance(e, FindingMade) and part in e.finding.detail]
    assert finding.title.startswith(f"Class {searched.target} " if stands_out else "No class stands out as the target")
    assert finding.severity == ("warning" if stands_out else "info")


@pytest.mark.parametrize("vaccine_step", [0, 2])
def test_vaccine_and_search_that_suspect_different_classes_are_said_to(
    make: Make, monkeypatch: pytest.MonkeyPatch, vaccine_step: int
) -> None:
    accepted = iter(vaccine.VaccineCheck(True, 0.04, 1, index) for index in range(4))
    monkeypatch.setattr(voting.VotingVaccine, "check", lambda *_: (yield 1.0) or next(accepted))
    runs = [list(make(_recipe("ood", 3, vaccine_step=vaccine_step)).run()) for _ in range(4)]
    titles = [[e.finding.title for e in run if isinstance(e, FindingMade)] for run in runs]
    assert sum("Shuffling Vaccine points at" in title for run in titles for title in run) == 3


def test_only_the_papers_retrospection_is_left_unclipped(make: Make) -> None:
    """As published; our own form is clipped like everything else."""
    for form in ("paper", "teacher"):
        distillation = make(_recipe("ood", 4, retrospection=form, retrospection_step=2))
        clips, apply = [], distillation.student.apply_gradients
        distillation.student.apply_gradients = _noting(clips, apply)  # type: ignore[method-assign]
        list(distillation.run())
        assert clips == ([True, True, False, False] if form == "paper" else [True] * 4)


def test_a_finished_run_that_goes_on_takes_no_step_more(make: Make) -> None:
    distillation = make(_recipe("ood", 3))
    list(distillation.run())
    before = _weights(distillation)
    assert list(distillation.run()) == []
    assert all(torch.equal(before[name], value) for name, value in _weights(distillation).items())


@pytest.mark.parametrize("steps", [5, 25])
def test_a_loss_that_is_not_a_number_ends_the_run(make: Make, steps: int) -> None:
    distillation = make(_recipe("ood", steps).undefended())
    with torch.no_grad():
        distillation.student.network.get_parameter("network.fc.weight").fill_(float("nan"))
    with pytest.raises(RunFailedError, match="not a number") as caught:
        list(distillation.run())
    assert caught.value.why and caught.value.remedy
    assert distillation.step == min(20, steps)


def test_losses_are_read_back_now_and_then_only(make: Make) -> None:
    steps = [event for event in make(_recipe("ood", 45).undefended()).run() if isinstance(event, StepDone)]
    read = {event.step for event in steps if "distillation" in event.losses}
    assert read == {20, 40, 45}


def _hooks(network: torch.nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def _noting(clips: list[bool], apply: Callable[..., None]) -> Callable[..., None]:
    def noting(step: int, *, clip: bool = True) -> None:
        clips.append(clip)
        apply(step, clip=clip)

    return noting

"""The estimate of the wall time follows from real steps, and from what happens once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from abd_app.audit import pace as estimating
from abd_app.audit import rehearsal as module
from abd_app.audit.pace import Pace, steps_within
from abd_app.audit.rehearsal import measure_pace, seconds_by_effort
from abd_app.distill import assemble as assembling
from abd_app.distill import laps
from abd_app.distill.assemble import assemble
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.recorded import WARM_UPS
from abd_app.distill.defences import vaccine
from abd_app.distill.defences.retrospection import PaperRetrospection
from abd_app.distill.defences.voting import VotingVaccine
from abd_app.distill.laps import Cycle
from abd_app.distill.loop import Distillation
from abd_app.distill.recipe import Recipe, choose_recipe
from abd_app.distill.sources.fast import FastSettings
from abd_app.distill.unlearning import all_to_all, bending, target_search
from abd_app.distill.unlearning.settings import UnlearningSettings
from abd_app.intake import open_teacher
from abd_app.networks.pixels import PixelNetwork
from abd_app.plan import TeacherFacts
from abd_app.teacher import ImageSpec, Teacher

FACTS = TeacherFacts(input_size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)
_COMPUTE = Compute(torch.device("cpu"), bf16=False)
_SPEC = ImageSpec(8, 8, 3, 4, (0.5,) * 3, (0.25,) * 3)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], float]]:
    """Instead of the machine's: time goes by when a network is shown images, a microsecond for each."""
    now_s = 0.0

    def show(network: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        nonlocal now_s
        if isinstance(network, PixelNetwork):
            now_s += 1e-6 * len(inputs[0])

    for timing in (module, laps):
        monkeypatch.setattr(timing, "time", SimpleNamespace(perf_counter=lambda: now_s))
    handle = register_module_forward_pre_hook(show)
    yield lambda: now_s
    handle.remove()


@pytest.fixture
def teacher(teacher_file: str) -> Teacher:
    return open_teacher(teacher_file, FACTS)


def _pace(**parts: float) -> Pace:
    empty = Cycle((0,), 0, 0)
    nothing = {"plain": empty, "retrospecting": empty, "reply": 0, "inverts": False, "bounded": False}
    nothing |= dict.fromkeys(("answer", "shuffled", "ascent", "unlearning"), 0)
    return Pace(**{"spec": _SPEC, **nothing, **parts})  # type: ignore[arg-type]


@pytest.fixture
def eighth(monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of all that a run does once, and of what the estimate supposes of it."""
    monkeypatch.setattr(vaccine, "CHECK_IMAGES", vaccine.CHECK_IMAGES // 8)
    monkeypatch.setattr(assembling, "_FEWEST_PATCHES", 128)
    monkeypatch.setattr(estimating, "_MEASURED_IMAGES", estimating._MEASURED_IMAGES // 8)
    monkeypatch.setattr(estimating, "BEND_STEPS", estimating.BEND_STEPS // 8)
    for name in ("CLIMBED", "ANSWERED"):
        monkeypatch.setattr(all_to_all, name, getattr(all_to_all, name) // 8)
    monkeypatch.setattr(bending, "_JUDGED", bending._JUDGED // 8)


_EIGHTH = UnlearningSettings(search_steps=8, patches=256, renewals=4, drawn=64, steps=25, batch_size=32)


@pytest.mark.parametrize(("method", "steps"), [("ood", 40), ("cmi", 8), ("fast", 10), ("zskt", 10)])
@pytest.mark.usefixtures("eighth")
def test_the_estimate_is_near_a_run(
    teacher: Teacher, clock: Callable[[], float], monkeypatch: pytest.MonkeyPatch, method: str, steps: int
) -> None:
    monkeypatch.setattr(target_search, "FEWEST_CLASSES", 99)  # all are unlearned, as the estimate supposes
    recipe = choose_recipe(method, "abd", "quick", steps)
    recipe = replace(recipe, vaccine_step=0, unlearning=_EIGHTH, epoch=(6, 12))
    expected = measure_pace(teacher, recipe, "wrn-10-1", _COMPUTE).seconds(recipe)
    distillation = assemble(teacher, recipe, student_name="wrn-10-1", compute=_COMPUTE, seed=0)
    began = clock()
    list(distillation.run())
    # At the most twice as much: it supposes a search by bending, too, which is not made where the classes are few.
    assert 0.9 < expected / (clock() - began) < 2


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("method", ["fast", "ood"])
def test_large_images_are_timed_on_few(teacher: Teacher, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    recipe, shown, pools = choose_recipe(method, "abd", "quick", 60), [], []
    whole = measure_pace(teacher, recipe, "wrn-10-1", _COMPUTE).plain.later
    monkeypatch.setattr(module, "_BUDGET_S", 0.0)
    timed = module.timed_cycle

    def noting(one: Distillation, *args: Any, **more: Any) -> Cycle:
        shown.append(one._recipe.batch_size)
        pools.append(one._source._settings.drawn)
        return timed(one, *args, **more)

    monkeypatch.setattr(module, "timed_cycle", noting)
    few = measure_pace(teacher, recipe, "wrn-10-1", _COMPUTE).plain.later
    assert set(shown) == {32} and set(pools) == {4 * 32}
    assert whole > 0 and few == pytest.approx(whole), "counted up to a whole batch"


def test_the_optimiser_is_not_counted_up(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUDGET_S", 0.0)  # 32 images instead of 128
    monkeypatch.setattr(module, "timed_cycle", lambda *_, **__: Cycle((1, 2, 3), 5, 3))
    monkeypatch.setattr(module._Rehearsal, "_optimiser_seconds", lambda _: 1.0)
    plain = measure_pace(teacher, choose_recipe("fast", "none", "quick", 60), "wrn-10-1", _COMPUTE).plain
    assert (plain.first, plain.later) == (4 * (5 - 1) + 1, 4 * (3 - 1) + 1)


def test_an_inversion_in_portions_is_paid_in_whole(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    steps = (100, 7, 2, 5, 1)  # labelling; the first and the second step of two portions
    monkeypatch.setattr(module, "timed_cycle", lambda *_, **__: Cycle(steps, 5, 3))
    monkeypatch.setattr(module._Rehearsal, "_affordable_batch", lambda self: self._whole)
    plain = measure_pace(teacher, choose_recipe("fast", "none", "quick", 60), "wrn-10-1", _COMPUTE).plain
    assert plain.own == (100, (7 + 5) + (FastSettings.inversion_steps - 1) * (2 + 1))


def test_steps_with_and_without_retrospection_are_paid_apart() -> None:
    recipe = Recipe(method="zskt", steps=100, retrospection="paper", retrospection_step=80, vaccine="none")
    pace = _pace(plain=Cycle((10,), 3, 2), retrospecting=Cycle((10,), 13, 12))
    assert pace.seconds(recipe) == pytest.approx(8 * (10 + 3 + 18) + 2 * (10 + 13 + 108))
    assert pace.seconds(recipe.undefended()) == pytest.approx(10 * 31)


def test_of_large_images_fewer_are_labelled_at_a_time_and_paid() -> None:
    recipe = Recipe(method="ood", steps=0, batch_size=32, vaccine="none", retrospection="none")
    pace = replace(_pace(plain=Cycle((85,), 0, 0)), spec=replace(_SPEC, height=1024, width=1024))
    assert pace.seconds(recipe) == pytest.approx(341), "all that a gibibyte holds, 85 of them at a time"


def test_what_happens_once_is_paid_once() -> None:
    recipe = Recipe(method="ood", steps=480, batch_size=32, vaccine="none", retrospection="none")
    labelled = _pace(plain=Cycle((512,), 0, 0))
    assert labelled.seconds(recipe) == pytest.approx(24 * 512 + 480 * 4)
    checked = replace(recipe, vaccine="votes")
    assert labelled.seconds(checked) - labelled.seconds(recipe) == pytest.approx(5000)
    assert _pace(shuffled=1).seconds(checked) == pytest.approx(2 * 5000)
    assert _pace(shuffled=1).seconds(replace(recipe, vaccine="mean")) == pytest.approx(4 * 5000)
    voting = _pace(plain=Cycle((512,), 0, 0), shuffled=0.75)  # a labelled patch is voted on; one that is checked is not
    assert voting.seconds(checked) - voting.seconds(recipe) == pytest.approx(5000 * (0.25 + 2 * 0.75))
    how = UnlearningSettings(search_steps=60, patches=2000, renewals=16, drawn=100, steps=50, batch_size=64)
    unlearned = replace(recipe, retrospection="teacher", unlearning=how)
    bent = 40 * 4 * 40  # steps, classes, images
    traded = 2 * 160 * 64 + 400 * 12  # starts, steps, images; and those that are inverted
    mapped = 2 * 13 * 512 + 1024 + 2 * 400  # starts, mappings, images; those that are judged, and those that are new
    searched = 60 * 4 * 32  # steps, classes, starts of each
    assert _pace(ascent=1).seconds(unlearned) == pytest.approx(searched + bent)
    assert _pace(ascent=1, bounded=True).seconds(unlearned) == pytest.approx(2 * searched + bent), "without and with"
    few = _pace(ascent=1, bounded=True, spec=replace(_SPEC, num_classes=3)).seconds(unlearned)
    assert few == pytest.approx(60 * 3 * 32), "of three none can stand out"
    assert _pace(unlearning=1).seconds(unlearned) == pytest.approx(50 * 128)
    marked = replace(unlearned, led_marks=True)
    assert _pace(ascent=1).seconds(marked) == pytest.approx(searched + bent + 50 * 128), "what leads to the class"
    asked_again = 1920 + 24 * 512  # about the first patches, and all others
    assert _pace(answer=1).seconds(unlearned) == pytest.approx(3600 + 4 * 500 + asked_again)
    by_generator = replace(unlearned, method="zskt", batch_size=128, steps=480, vaccine="none")
    asked = _pace(answer=1).seconds(by_generator) - _pace().seconds(by_generator)
    assert asked == pytest.approx(3600 + 4 * 500 + 48 * 128)
    assert _pace(ascent=1, inverts=True).seconds(unlearned) == pytest.approx(searched + bent + traded + 1600 * 12)
    looked_again = mapped + 1600
    assert _pace(answer=1, inverts=True).seconds(unlearned) == pytest.approx(5600 + looked_again + asked_again)
    assert _pace(reply=1).seconds(recipe) == pytest.approx(20 * 600)
    inverted = replace(recipe, method="fast", batch_size=128, steps=80)
    assert _pace(plain=Cycle((512, 88), 0, 0)).seconds(inverted) == pytest.approx(4 * 600 + 80 * 64), "labelled first"
    begun = replace(recipe, method="cmi", epoch=(10, 60), steps=80)
    assert _pace(plain=Cycle((1,), 0, 0)).seconds(begun) == pytest.approx(2 * 10), "two epochs are drawn for 80 steps"


def test_published_patches_cost_no_labelling_pass() -> None:
    recipe = Recipe(method="ood", steps=80, vaccine="none", retrospection="none", balanced=False)
    assert _pace(plain=Cycle((), 4, 1)).seconds(recipe) == pytest.approx(80 * 2), "all steps are alike"


def test_a_labelling_pass_is_measured_with_the_votes(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(self: Any, *args: Any) -> Any:
        time.sleep(0.3)
        return suspicious(self, *args)

    suspicious = VotingVaccine.suspicious
    monkeypatch.setattr(VotingVaccine, "suspicious", slowly)
    recipe = choose_recipe("ood", "sv", "quick", 60)
    assert measure_pace(teacher, recipe, "wrn-10-1", _COMPUTE).plain.source > 0.3


def test_an_inversion_is_counted_up_from_its_first_two_steps(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "timed_cycle", lambda *_, **__: Cycle((1, 2, 3), 0, 0))
    labelling, inversion = measure_pace(
        teacher, choose_recipe("fast", "none", "quick", 60), "wrn-10-1", _COMPUTE
    ).plain.own
    assert inversion / labelling == pytest.approx(2 + (FastSettings.inversion_steps - 1) * 3)


@pytest.mark.parametrize(("side", "inverted"), [(64, 256), (65, 128)])
def test_inverted_images_are_asked_about_again(side: int, inverted: int) -> None:
    recipe = replace(choose_recipe("fast", "sr", "quick", 2000), led_marks=False)
    longer, pace = replace(recipe, steps=4000), replace(_pace(answer=1), spec=replace(_SPEC, height=side, width=side))
    assert pace.seconds(longer) - pace.seconds(recipe) == pytest.approx(100 * (512 + inverted))


def test_minutes_become_the_most_steps_that_fit() -> None:
    pace = _pace(plain=Cycle((), 1, 1), retrospecting=Cycle((), 1, 1), ascent=0.01)

    def recipe_of(steps: int) -> Recipe:
        return choose_recipe("zskt", "sr", "quick", steps)

    steps = steps_within(1000, pace, recipe_of, fewest=20)
    assert pace.seconds(recipe_of(steps)) <= 1000 < pace.seconds(recipe_of(steps + 2))
    assert steps_within(1, pace, recipe_of, fewest=20) == 20


def test_the_published_retrospection_is_timed_as_it_goes_on(teacher: Teacher, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU, as it is replayed: after two steps as they are and one that is recorded."""
    calls: list[int] = []
    timed: list[int] = []
    add_gradient, timed_cycle = PaperRetrospection.add_gradient, module.timed_cycle

    def counted(self: PaperRetrospection, *args: Any) -> torch.Tensor:
        calls.append(1)
        return add_gradient(self, *args)

    def noted(*args: Any, **options: Any) -> Cycle:
        timed.append(len(calls))
        return timed_cycle(*args, **options)

    monkeypatch.setattr(PaperRetrospection, "add_gradient", counted)
    monkeypatch.setattr(module, "timed_cycle", noted)
    monkeypatch.setattr(module, "runs_to_warm_up", lambda _: 1 + WARM_UPS)
    measure_pace(teacher, choose_recipe("zskt", "sr", "paper", None), "wrn-10-1", _COMPUTE)
    assert timed[-1] > WARM_UPS, "steps before the last cycle is timed"


@pytest.mark.usefixtures("clock")
def test_more_effort_takes_longer(teacher: Teacher) -> None:
    seconds = seconds_by_effort(teacher, "ood", "wrn-10-1", _COMPUTE, "abd")
    assert 0 < seconds["quick"] < seconds["standard"] < seconds["paper"]


def test_measuring_the_pace_leaves_the_teacher_as_it_was(teacher: Teacher) -> None:
    before = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    measure_pace(teacher, choose_recipe("fast", "abd", "quick", None), "wrn-10-1", _COMPUTE)
    assert all(torch.equal(before[name], value) for name, value in teacher.network.state_dict().items())


@pytest.mark.usefixtures("clock")
def test_the_pace_of_paper_mode_counts_its_batches_and_its_retrospection(teacher: Teacher) -> None:
    """Four times the images a step; one in a hundred shows its images to the student a dozen times more."""
    published = choose_recipe("ood", "abd", "paper", None)
    small = replace(published, batch_size=128, retrospection="none")
    longer, shorter = (measure_pace(teacher, one, "wrn-10-1", _COMPUTE).seconds(one) for one in (published, small))
    assert longer / shorter == pytest.approx(4.09, abs=0.03)

"""The numbers of paper mode are the published ones; budgets and defences choose the rest."""

from __future__ import annotations

import math

import pytest

from abd_app.distill.recipe import STEPS, Recipe, choose_recipe
from abd_app.distill.sources.cmi import CmiSettings
from abd_app.plan import DEFENSES

METHODS = ("zskt", "cmi", "ood", "fast")


def test_zskt_in_paper_mode_is_the_published_setting() -> None:
    recipe = choose_recipe("zskt", "abd", "paper", None)
    assert recipe.steps == 80_000 * 10
    assert (recipe.batch_size, recipe.optimizer, recipe.rate, recipe.warm_up) == (128, "adam", 2e-3, 0.0)
    assert (recipe.loss, recipe.temperature, recipe.attention, recipe.clip) == ("mean", 1.0, 250.0, 5.0)
    assert recipe.vaccine == "mean" and recipe.vaccine_weight == 0.1
    assert recipe.retrospection == "paper" and recipe.retrospection_rate == 5e-4
    assert recipe.retrospection_step == (80_000 - 601) * 10


def test_cmi_in_paper_mode_is_the_published_setting() -> None:
    recipe = choose_recipe("cmi", "abd", "paper", None)
    assert recipe.epoch == (200, 400) and recipe.steps == 200 * 400
    assert (recipe.batch_size, recipe.optimizer, recipe.rate, recipe.warm_up) == (128, "sgd", 0.1, 0.0)
    assert (recipe.weight_decay, recipe.nesterov, recipe.clip) == (1e-4, False, math.inf)
    assert (recipe.loss, recipe.temperature, recipe.attention) == ("hinton", 20.0, 0.0)
    assert recipe.vaccine and recipe.vaccine_weight == 0.1
    assert recipe.vaccine_step == 20 * 400 and 20 * CmiSettings().drawn >= 5000
    assert recipe.retrospection == "paper" and recipe.retrospection_rate == 1e-4
    assert recipe.retrospection_step == (200 - 3) * 400


def test_ood_in_paper_mode_is_the_published_setting() -> None:
    recipe = choose_recipe("ood", "abd", "paper", None)
    epoch = 98  # batches of 512 for 50,000 patches
    assert recipe.steps == 300 * epoch
    assert (recipe.batch_size, recipe.optimizer, recipe.rate, recipe.warm_up) == (512, "adam", 1e-3, 0.0)
    assert (recipe.loss, recipe.temperature, recipe.clip) == ("hinton", 8.0, math.inf)
    assert recipe.vaccine and recipe.vaccine_weight == 0.1 and recipe.vaccine_step == 0
    assert not recipe.balanced and choose_recipe("ood", "abd", "standard", None).balanced
    assert recipe.retrospection == "paper" and recipe.retrospection_rate == 1e-4
    assert recipe.retrospection_step == (300 - 3) * epoch


def test_cmis_epochs_are_shorter_and_fewer_with_less_effort() -> None:
    for effort, epochs in (("quick", 20), ("standard", 60), ("paper", 200)):
        recipe = choose_recipe("cmi", "abd", effort, None)
        assert recipe.steps == epochs * recipe.epoch[1] and recipe.epoch[0] * 2 == recipe.epoch[1]


def test_outside_paper_mode_our_retrospection_takes_over() -> None:
    for method in METHODS:
        recipe = choose_recipe(method, "abd", "standard", None)
        assert recipe.retrospection == "teacher" and recipe.retrospection_rate is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("effort", STEPS)
def test_every_effort_has_a_budget_that_steps_replace(method: str, effort: str) -> None:
    assert choose_recipe(method, "abd", effort, None).steps == STEPS[effort][method]
    assert choose_recipe(method, "abd", effort, 33).steps == 33
    assert STEPS["quick"][method] < STEPS["standard"][method] < STEPS["paper"][method]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("defense", DEFENSES)
def test_a_defence_switches_what_it_names(method: str, defense: str) -> None:
    recipe = choose_recipe(method, defense, "quick", None)
    assert (recipe.vaccine != "none") == (defense in ("abd", "sv"))
    assert (recipe.retrospection != "none") == (defense in ("abd", "sr"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11, 25, 100, 1234])
def test_the_defences_begin_within_the_run_at_any_budget(method: str, steps: int) -> None:
    for effort in STEPS:
        recipe = choose_recipe(method, "abd", effort, steps)
        assert 0 <= recipe.vaccine_step < steps
        assert 0 <= recipe.retrospection_step < steps


def test_the_twin_differs_in_its_defences_alone() -> None:
    recipe = choose_recipe("ood", "abd", "quick", 50)
    twin = recipe.undefended()
    assert twin.vaccine == "none" and twin.retrospection == "none"
    changed = {name for name in Recipe.__dataclass_fields__ if getattr(twin, name) != getattr(recipe, name)}
    assert changed == {"vaccine", "bounds", "retrospection", "marks"}


def test_leeway_is_for_patches_and_led_marks_are_for_fast() -> None:
    leeway = {
        (method, effort): choose_recipe(method, "abd", effort, None).leeway
        for method in METHODS
        for effort in ("quick", "paper")
    }
    led = {method for method in METHODS if choose_recipe(method, "abd", "quick", None).led_marks}
    assert led == {"fast"}, "whose images are optimised and teach more than their labels say"
    has_some = {key for key, value in leeway.items() if value > 0}
    assert has_some == {("ood", "quick"), ("fast", "quick"), ("fast", "paper")}

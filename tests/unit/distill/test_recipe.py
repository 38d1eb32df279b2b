"""The numbers of paper mode are the published ones; budgets and defences choose the rest."""

from __future__ import annotations

import pytest

from abd_app.distill.recipe import STEPS, Recipe, choose_recipe
from abd_app.plan import DEFENSES, EFFORTS

METHODS = ("zskt", "ood", "fast")


def test_zskt_in_paper_mode_is_the_published_setting() -> None:
    recipe = choose_recipe("zskt", "abd", "paper", None)
    assert recipe.steps == 80_000 * 10
    assert (recipe.batch_size, recipe.optimizer, recipe.rate, recipe.warm_up) == (128, "adam", 2e-3, 0.0)
    assert (recipe.loss, recipe.temperature, recipe.attention, recipe.clip) == ("mean", 1.0, 250.0, 5.0)
    assert recipe.vaccine == "mean" and recipe.vaccine_weight == 0.1
    assert recipe.retrospection == "paper" and recipe.retrospection_rate == 5e-4
    assert recipe.retrospection_step == (80_000 - 601) * 10


def test_outside_paper_mode_our_retrospection_takes_over() -> None:
    for method in METHODS:
        recipe = choose_recipe(method, "abd", "standard", None)
        assert recipe.retrospection == "universal" and recipe.retrospection_rate is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("effort", EFFORTS)
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
    for effort in EFFORTS:
        recipe = choose_recipe(method, "abd", effort, steps)
        assert 0 <= recipe.vaccine_step < steps
        assert 0 <= recipe.retrospection_step < steps


def test_the_twin_differs_in_its_defences_alone() -> None:
    recipe = choose_recipe("ood", "abd", "quick", 50)
    twin = recipe.undefended()
    assert twin.vaccine == "none" and twin.retrospection == "none"
    changed = {name for name in Recipe.__dataclass_fields__ if getattr(twin, name) != getattr(recipe, name)}
    assert changed == {"vaccine", "retrospection"}

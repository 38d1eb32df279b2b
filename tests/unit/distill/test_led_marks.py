"""Marks that lead to the class that was unlearned: who finds them, and how the student sees them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from abd_app.distill.answering import Answer
from abd_app.distill.assemble import assemble, purification
from abd_app.distill.compute.device import Compute
from abd_app.distill.loop import Distillation
from abd_app.distill.recipe import choose_recipe
from abd_app.distill.sources.base import Batch
from abd_app.distill.unlearning.teacher_retrospection import TeacherRetrospection
from abd_app.teacher import Teacher


def _assembled(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str, method: str = "fast"
) -> tuple[Distillation, TeacherRetrospection]:
    recipe, how = choose_recipe(method, "abd", "quick", 10), {"compute": compute, "seed": 0, "picture": picture}
    distillation = assemble(make_teacher(), recipe, student_name="wrn-10-1", **how)  # type: ignore[arg-type]
    assert isinstance(distillation._retrospection, TeacherRetrospection)
    return distillation, distillation._retrospection


def _changed(distillation: Distillation, count: int) -> list[bool]:
    """Which images of a batch have marks."""
    images = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    shown = distillation._marked(Batch(images, Answer(torch.rand(count, 4))))
    return (shown != images).flatten(1).any(dim=1).tolist()


@pytest.mark.parametrize("found", [True, False])
def test_every_second_mark_leads_to_the_class_that_was_unlearned(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str, found: bool
) -> None:
    distillation, retrospection = _assembled(make_teacher, compute, picture)
    retrospection.adversaries = retrospection._new_marks((1,)) if found else None
    changed = _changed(distillation, 80)
    assert distillation._recipe.marks == 0.25
    assert sum(changed[:10]) > 5 and not any(changed[20:70])
    assert (sum(changed[10:20]) > 5, all(changed[70:])) == ((False, True) if found else (True, False))
    assert sum(_changed(distillation, 4)) <= 1, "one of four, whichever kind it is"


@pytest.mark.parametrize("method", ["fast", "ood", "cmi", "zskt"])
def test_they_are_looked_for_with_fast_alone(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str, method: str
) -> None:
    _, retrospection = _assembled(make_teacher, compute, picture, method)
    assert retrospection._marks == (method == "fast")


def test_where_no_student_is_to_learn_they_are_not_looked_for(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str
) -> None:
    recipe = choose_recipe("fast", "abd", "quick", 10)
    _, retrospection = purification(make_teacher(), recipe, compute=compute, seed=0, picture=picture)
    assert not retrospection._marks

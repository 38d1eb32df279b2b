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
from abd_app.distill.unlearning.led_marks import LedMarks
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
def test_every_second_mark_leads_to_the_class_where_the_student_falls_for_them(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str, found: bool
) -> None:
    distillation, retrospection = _assembled(make_teacher, compute, picture)
    if found:
        retrospection.led_marks = LedMarks(retrospection._new_marks((1,)), (1,))
        retrospection.led_marks.turned = 0.3
    changed = _changed(distillation, 80)
    assert distillation._recipe.marks == 0.25
    assert sum(changed[:10]) > 5 and not any(changed[20:70])
    assert (sum(changed[10:20]) > 5, all(changed[70:])) == ((False, True) if found else (True, False))
    assert sum(_changed(distillation, 4)) <= 1, "one of four, whichever kind it is"


@pytest.mark.parametrize(("turned", "count"), [(0.0, 0), (0.02, 2), (0.05, 5), (0.1, 10), (0.9, 10)])
def test_the_more_images_they_turn_the_more_of_them_there_are(turned: float, count: int) -> None:
    marks = LedMarks(_TurnsSome(0), (1,))  # type: ignore[arg-type]
    marks.turned = turned
    assert marks.among(20) == count


class _TurnsSome:
    """Stands where adversaries stand: makes so many of the images white."""

    def __init__(self, count: int) -> None:
        self._count = count

    def laid_over(self, images: torch.Tensor, count: int) -> torch.Tensor:
        assert count == len(images)
        white = images.clone()
        white[: self._count] = 1
        return white


class _White(torch.nn.Module):
    """Takes white images for class 2, black ones for class 1, others for class 0; only if it is not learning."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        mean = images.mean(dim=(1, 2, 3))
        return torch.stack([torch.full_like(mean, 0.5), (mean == 0).float(), (mean == 1).float()], dim=1)


def test_the_share_is_that_of_other_classes_that_turn_and_is_smoothed(compute: Compute) -> None:
    images = torch.full((64, 3, 8, 8), 0.5)
    images[:4] = 1  # of the class already
    images[60:] = 0
    marks, student = LedMarks(_TurnsSome(16), (2,)), _White().train()  # type: ignore[arg-type]
    marks.look(student, images, compute)
    assert marks.turned == pytest.approx(0.1 * 12 / 60)
    marks.look(student, images, compute, 10)
    assert marks.turned == pytest.approx(0.19 * 12 / 60) and student.training
    marks.look(student, torch.ones(8, 3, 8, 8), compute)
    assert marks.turned == pytest.approx(0.171 * 12 / 60), "none is left that could turn"


def test_a_run_looks_now_and_then_and_goes_on_where_it_was(
    make_teacher: Callable[..., Teacher], compute: Compute, picture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    distillation, retrospection = _assembled(make_teacher, compute, picture)
    marks = retrospection.led_marks = LedMarks(retrospection._new_marks((1,)), (1,))
    looked = []
    monkeypatch.setattr(marks, "look", lambda *_: looked.append(distillation.step))
    batch = Batch(torch.rand(8, 3, 8, 8), Answer(torch.rand(8, 4)))
    for distillation.step in range(41):
        distillation._learn(batch)
    assert looked == [0, 20, 40]
    marks.turned = 0.25
    retrospection.targets = (1,)
    other = _assembled(make_teacher, compute, picture)[1]
    other.load_state_dict(retrospection.state_dict())
    assert other.led_marks is not None and other.led_marks.turned == 0.25


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

"""A student nears its teacher within a few steps, without a defence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from abd_app.distill.assemble import assemble
from abd_app.distill.compute.device import Compute
from abd_app.distill.loop import Distillation
from abd_app.distill.losses import kl_mean
from abd_app.distill.recipe import Recipe, choose_recipe
from abd_app.distill.sources.cmi import CmiSettings
from abd_app.teacher import Teacher

_CMI = CmiSettings(drawn=16, noise=16, features=16, bank=64, capacity=64)


def _recipe(method: str, steps: int, **changes: Any) -> Recipe:
    return replace(choose_recipe(method, "none", "quick", steps), **changes)


@pytest.fixture
def make(make_teacher: Callable[..., Teacher], compute: Compute, picture: str) -> Callable[[Recipe], Distillation]:
    teacher = make_teacher()
    return lambda recipe: assemble(
        teacher, recipe, student_name="wrn-10-1", compute=compute, seed=0, picture=picture, cmi=_CMI
    )


def test_a_student_learns_to_answer_like_its_teacher(
    make: Callable[[Recipe], Distillation], make_teacher: Callable[..., Teacher]
) -> None:
    distillation = make(_recipe("ood", 150, batch_size=32))
    images = distillation._source.sample(400).float() / 255
    labels = make_teacher().network(images).argmax(1)
    rates = []
    for _ in range(2):
        with torch.no_grad():
            network = distillation.student.network.eval()
            rates.append(float((network(images).argmax(1) == labels).float().mean()))
            network.train()
        list(distillation.run())
    assert rates[1] > max(0.6, rates[0] + 0.1)


def test_a_few_epochs_of_cmi_bring_the_student_nearer_to_its_teacher(
    make: Callable[[Recipe], Distillation], make_teacher: Callable[..., Teacher]
) -> None:
    recipe = _recipe("cmi", 60, batch_size=8, epoch=(5, 20), rate=0.02)
    learned, fresh = make(recipe), make(recipe)
    list(learned.run())
    images = learned._source.sample(64).float() / 255
    answers = make_teacher().network(images)
    losses = [float(kl_mean(one.student.network.eval()(images), answers).detach()) for one in (fresh, learned)]
    assert losses[1] < 0.7 * losses[0]

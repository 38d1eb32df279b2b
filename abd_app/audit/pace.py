"""How long a run will take, from a few real steps on this device."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from abd_app.distill.assemble import assemble
from abd_app.distill.device import Compute
from abd_app.distill.loop import Distillation
from abd_app.distill.recipe import STEPS, Recipe, choose_recipe
from abd_app.distill.sources.fast import FastSettings
from abd_app.distill.sources.ood import PatchSettings
from abd_app.distill.sources.zskt import STUDENT_STEPS
from abd_app.events import StepDone
from abd_app.plan import EFFORTS
from abd_app.teacher import Teacher

_TIMED_STEPS, _SHORT_RUN = 4, 16
_TIMED_IMAGES = 128
_SHORT_ROUND = FastSettings(generator_steps=_TIMED_STEPS, student_steps=_TIMED_STEPS, warm_up_rounds=1)
_PAPER_RETROSPECTION_STEPS = 25
"""Plain steps that one step of the published Self-Retrospection takes as long as, counted and measured (23 to 28)."""


def seconds_by_effort(teacher: Teacher, method: str, student_name: str, compute: Compute) -> dict[str, float]:
    """Expected wall time in seconds of one defended student, by effort."""
    expected, paces = {}, dict[Recipe, float]()
    for effort in EFFORTS:
        recipe = choose_recipe(method, "abd", effort, STEPS["standard"][method])  # the length apart, mostly the same
        if recipe not in paces:
            paces[recipe] = seconds_per_step(teacher, recipe, student_name, compute)
        expected[effort] = paces[recipe] * STEPS[effort][method]
    return expected


def seconds_per_step(teacher: Teacher, recipe: Recipe, student_name: str, compute: Compute) -> float:
    """Mean wall time of a student step with its share of the generator's and of Self-Retrospection.

    A throw-away student takes a few steps with and without retrospection; the first of each kind warms up and is not
    counted. Of large batches a part is timed. What happens once is left out: the patches that ``ood`` labels first,
    the vaccine check, the search for adversaries. In a run of usual length they are a small part.
    """
    batch_size = min(recipe.batch_size, _TIMED_IMAGES)
    epoch = (_TIMED_STEPS, _TIMED_STEPS)
    short = replace(recipe, steps=_SHORT_RUN, batch_size=batch_size, epoch=epoch, vaccine="none", search_steps=1)
    student, generator = _timed(teacher, replace(short, retrospection="none"), student_name, compute)
    share = 1 - recipe.retrospection_step / recipe.steps
    if recipe.retrospection == "paper":
        student *= 1 + share * _PAPER_RETROSPECTION_STEPS
    elif recipe.retrospection == "universal":
        with_retrospection, _ = _timed(teacher, replace(short, retrospection_step=0), student_name, compute)
        student += share * max(0.0, with_retrospection - student)
    return student * recipe.batch_size / batch_size + generator * _generator_share(recipe)


def _timed(teacher: Teacher, recipe: Recipe, student_name: str, compute: Compute) -> tuple[float, float]:
    """Fastest observed seconds of a student step and of a generator step (0 if there is none)."""
    distillation = assemble(teacher, recipe, student_name=student_name, compute=compute, seed=0, fast=_SHORT_ROUND)
    student: list[float] = []
    generator: list[float] = []
    for before, step, elapsed in _timed_steps(distillation):
        (student if step > before else generator).append(elapsed)
        if len(student) > _TIMED_STEPS:
            break
    return min(student[1:]), min(generator[1:] or generator or [0.0])


def _timed_steps(distillation: Distillation) -> Iterator[tuple[int, int, float]]:
    before, start = 0, time.perf_counter()
    for event in distillation.run():
        if isinstance(event, StepDone):
            now = time.perf_counter()
            yield before, event.step, now - start
            before, start = event.step, time.perf_counter()


def _generator_share(recipe: Recipe) -> float:
    """Generator steps per student step."""
    fast, ood = FastSettings(), PatchSettings()
    shares = {
        "cmi": recipe.epoch[0] / recipe.epoch[1],
        "fast": fast.generator_steps / fast.student_steps,
        "zskt": 1 / STUDENT_STEPS,
        "ood": 1 / ood.student_steps if recipe.balanced else 0.0,  # passes of the teacher over new patches
    }
    return shares[recipe.method]

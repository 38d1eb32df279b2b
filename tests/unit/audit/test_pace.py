"""The estimate of the wall time follows from real steps."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch

from abd_app.audit.pace import seconds_per_step
from abd_app.distill.assemble import assemble
from abd_app.distill.device import Compute
from abd_app.distill.recipe import choose_recipe
from abd_app.intake import open_teacher
from abd_app.plan import TeacherFacts

FACTS = TeacherFacts(input_size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)


@pytest.mark.parametrize("method", ["ood", "cmi", "fast", "zskt"])
def test_the_pace_is_near_that_of_a_run(teacher_file: str, method: str) -> None:
    teacher, compute = open_teacher(teacher_file, FACTS), Compute(torch.device("cpu"), bf16=False)
    pace = seconds_per_step(teacher, choose_recipe(method, "abd", "standard", None), "wrn-10-1", compute)
    recipe = replace(choose_recipe(method, "sr", "quick", 40), search_steps=1)
    distillation = assemble(teacher, recipe, student_name="wrn-10-1", compute=compute, seed=0)
    started = time.perf_counter()
    list(distillation.run())
    taken = time.perf_counter() - started
    assert taken / 8 < 40 * pace < 8 * taken  # the machine may be busy


def test_measuring_the_pace_leaves_the_teacher_as_it_was(teacher_file: str) -> None:
    teacher, compute = open_teacher(teacher_file, FACTS), Compute(torch.device("cpu"), bf16=False)
    before = {name: value.clone() for name, value in teacher.network.state_dict().items()}
    seconds_per_step(teacher, choose_recipe("fast", "abd", "quick", None), "wrn-10-1", compute)
    assert all(torch.equal(before[name], value) for name, value in teacher.network.state_dict().items())


def test_the_pace_of_paper_mode_counts_its_batches_and_its_retrospection(teacher_file: str) -> None:
    """Four times the images a step, and one step in a hundred takes as long as 25."""
    teacher, compute = open_teacher(teacher_file, FACTS), Compute(torch.device("cpu"), bf16=False)
    published = choose_recipe("ood", "abd", "paper", None)
    small = replace(published, batch_size=128, retrospection="none")
    paces = [seconds_per_step(teacher, recipe, "wrn-10-1", compute) for recipe in (published, small)]
    assert 2.5 < paces[0] / paces[1] < 10  # 5 by the book; the machine may be busy

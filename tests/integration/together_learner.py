"""Run by ``test_together`` alone and with torchrun: short distillations, and BatchNorm in double precision.

Usage: ``together_learner.py TEACHER OUT``; writes ``{name: tensor}`` to OUT.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest
import torch
from torch import distributed, nn

from abd_app.distill.assemble import assemble
from abd_app.distill.compute import parallel
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.shared_batchnorm import SharedBatchNorm
from abd_app.distill.defences import vaccine
from abd_app.distill.recipe import choose_recipe
from abd_app.distill.sources import pictures
from abd_app.distill.sources.fast import FastSettings
from abd_app.distill.sources.ood import PatchSettings
from abd_app.distill.unlearning import margins
from abd_app.distill.unlearning.settings import UnlearningSettings
from abd_app.distill.unlearning.teacher_retrospection import TeacherRetrospection
from abd_app.intake import open_teacher
from abd_app.plan import TeacherFacts
from tests.short_unlearning import shorten_searches

STEPS = {"fast": 5, "ood": 6, "zskt": 10}
# Short steps, here and below: rounding turns signs of first steps, and what it changes grows with their length.
_FAST = FastSettings(drawn=64, first=128, inverted=32, inversion_steps=2, student_steps=3, rate=0.004)
_PATCHES = PatchSettings(drawn=64, first=128)
_SHORT = UnlearningSettings(
    search_steps=10,
    patches=128,
    renewals=1,
    drawn=32,
    steps=5,
    batch_size=16,
    least_kept=0.0,
)
COMPUTE = Compute(torch.device("cpu"), bf16=False)


def learned(method: str, file: str) -> dict[str, torch.Tensor]:
    """The student's weights before and after a few steps, all defences having acted, and whether one did."""
    teacher = open_teacher(file, TeacherFacts(input_size=(16, 16), mean=(0.5,) * 3, std=(0.25,) * 3))
    recipe = replace(
        choose_recipe(method, "abd", "quick", STEPS[method]), unlearning=_SHORT, rate=1e-3, muon_factor=1.0
    )
    distillation = assemble(
        teacher, recipe, student_name="wrn-10-1", compute=COMPUTE, seed=0, fast=_FAST, patches=_PATCHES
    )
    parameters = list(distillation.student.network.parameters())
    before = torch.cat([parameter.detach().flatten() for parameter in parameters]).clone()
    for _ in distillation.run():
        pass
    after = torch.cat([parameter.detach().flatten() for parameter in parameters])
    retrospection = distillation._retrospection
    assert isinstance(retrospection, TeacherRetrospection) and retrospection.search.margins is not None
    opinion = distillation._teacher.second_opinion
    assert opinion is not None
    weights = torch.cat([one.detach().flatten() for one in opinion.about(optimized=True).parameters()])
    was = torch.cat([one.detach().flatten() for one in teacher.network.parameters()])
    found = {"before": before, "after": after, "teacher before": was, "teacher after": weights}
    found["target"] = torch.tensor(retrospection.search.margins.target)
    return {f"{method} {name}": value for name, value in found.items()}


def normalised() -> dict[str, torch.Tensor]:
    """A layer's output, gradients and statistics for a batch of which every process has a part, unequal ones."""
    random = torch.Generator().manual_seed(1)
    images = torch.randn(7, 3, 4, 4, dtype=torch.float64, generator=random) * 3 + 5
    wanted = torch.randn(7, 3, 4, 4, dtype=torch.float64, generator=random)
    layer = nn.BatchNorm2d(3).double()
    part = parallel.own_slice(len(images))
    own = images[part].requires_grad_()
    with SharedBatchNorm():
        output = layer(own)
    loss = (output * wanted[part]).square().sum()
    loss.backward()
    assert layer.weight.grad is not None and layer.bias.grad is not None and own.grad is not None
    parallel.all_reduce_sum([layer.weight.grad, layer.bias.grad])
    found = {"output": parallel.all_gather(output.detach(), 7), "by images": parallel.all_gather(own.grad, 7)}
    found |= {"by weight": layer.weight.grad, "by bias": layer.bias.grad}
    return found | {name: buffer for name, buffer in layer.named_buffers() if buffer.is_floating_point()}


def main() -> None:
    teacher, out = sys.argv[1:]
    torch.set_num_threads(1)
    shorten_searches(pytest.MonkeyPatch())
    pictures.PROCEDURAL_PICTURES, vaccine.CHECK_IMAGES = 3, 200
    margins.SIGNIFICANT = 1.1  # so that a class stands out
    if "RANK" in os.environ:
        distributed.init_process_group("gloo")
    found = normalised()
    for method in STEPS:
        found |= learned(method, teacher)
    if parallel.is_main_process():
        torch.save(found, out)
    if distributed.is_initialized():
        distributed.destroy_process_group()


if __name__ == "__main__":
    main()

"""The plain form of what was published gives the numbers of the engine; for ZSKT's loop see its source's tests."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from abd_app.bench import make_subject
from abd_app.bench.naive import NaiveOod, NaiveZskt, shuffled_copies, trainable
from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.assemble import build_student
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences.retrospection import PaperRetrospection
from abd_app.distill.defences.vaccine import ShufflingVaccine
from abd_app.distill.recipe import Recipe
from abd_app.distill.sources.base import Batch
from abd_app.distill.sources.generators import ZsktGenerator
from abd_app.distill.student import Student

_COMPUTE = Compute(torch.device("cpu"), bf16=False)
_STAGES = ("network.block1", "network.block2", "network.block3")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The whole engine in float64: the search for a perturbation begins with the rounding of a gradient of 0."""
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def _agree(ours: nn.Module, theirs: nn.Module, tolerance: float) -> None:
    for (name, one), other in zip(ours.state_dict().items(), theirs.state_dict().values(), strict=True):
        if not name.endswith("num_batches_tracked"):
            assert torch.allclose(one, other, atol=tolerance), (name, (one - other).abs().max().item())


@pytest.mark.usefixtures("double")
def test_a_step_of_paper_retrospection_is_the_naive_one_batchnorm_included() -> None:
    subject = make_subject("wrn-10-1", size=(8, 8), num_classes=4)
    spec, network = subject.teacher.spec, subject.teacher.network
    mean, std = (torch.tensor(value).view(1, -1, 1, 1) for value in (spec.mean, spec.std))
    torch.manual_seed(1)
    generator, noise = ZsktGenerator(3, 8, 8).train(), torch.randn(8, 100)
    student = build_student("wrn-10-1", spec, 5).train()
    twin, start = copy.deepcopy(student), copy.deepcopy(student)
    images = (generator(noise) * std + mean).detach()
    naive = NaiveZskt(
        trainable(network), twin, generator, _COMPUTE,
        mean=mean, std=std, stages=(_STAGES, _STAGES), retrospection=True, rounds=3,
    )  # fmt: skip
    torch.manual_seed(2)
    expected = naive.student_step(noise)
    recipe = Recipe(
        method="zskt", steps=10, rate=5e-4, warm_up=0.0, temperature=1.0, loss="mean", attention=250.0,
        retrospection="none",
    )  # fmt: skip
    learner = Student(student, _COMPUTE, recipe, _STAGES)
    answer = AnsweringTeacher(network, _COMPUTE, _STAGES)(images)
    torch.manual_seed(2)
    loss = learner.loss(Batch(images, answer))
    loss.backward()
    PaperRetrospection(_COMPUTE, std, rounds=3).add_gradient(student, images)
    learner.apply_gradients(0, clip=False)
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    _agree(student, twin, 1e-6)
    assert not torch.allclose(student.network.conv1.weight, start.network.conv1.weight, atol=1e-4)


@pytest.mark.parametrize("vaccinated", [False, True])
def test_a_step_on_given_images_is_the_naive_one(vaccinated: bool) -> None:
    subject = make_subject("wrn-16-1", size=(8, 8), num_classes=3)
    network, images = subject.teacher.network, torch.rand(16, 3, 8, 8)
    random = torch.Generator().manual_seed(3)
    vaccine = ShufflingVaccine(network, example=images[:2], generator=random, block_names=subject.teacher.block_names)
    student = build_student("wrn-10-1", subject.teacher.spec, 5).train()
    twin = copy.deepcopy(student)
    shuffled = shuffled_copies(network, vaccine.layer_names, random.manual_seed(3)) if vaccinated else []
    naive = NaiveOod(trainable(network), twin, _COMPUTE, temperature=4.0, shuffled=shuffled)
    expected = naive.student_step(images)
    teacher = AnsweringTeacher(network, _COMPUTE)
    teacher.share_trunk(vaccine.trunk)
    answer = teacher(images)
    suspicious = vaccine.suspicious(images, answer)
    assert 0 < int(suspicious.sum()) < 16, "the example must have both kinds"
    recipe = Recipe(method="ood", steps=10, warm_up=0.0, retrospection="none")
    learner = Student(student, _COMPUTE, recipe)
    loss = learner.loss(Batch(images, answer, suspicious if vaccinated else None))
    loss.backward()
    learner.apply_gradients(0)
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    _agree(student, twin, 1e-4)

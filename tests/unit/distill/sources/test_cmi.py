"""``cmi``: inversion epoch by epoch, with images that are told apart from all earlier ones."""

from __future__ import annotations

import copy
from dataclasses import replace
from statistics import median
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from abd_app.distill.answering import SecondOpinion
from abd_app.distill.compute.device import Compute
from abd_app.distill.defences.vaccine import ShufflingVaccine
from abd_app.distill.losses import kl_per_image
from abd_app.distill.observe import batchnorm_distances
from abd_app.distill.sources.augment import resized_crops, shift_and_flip
from abd_app.distill.sources.base import GeneratorStep
from abd_app.distill.sources.cmi import CmiSettings, ContrastiveInversionSource
from abd_app.distill.sources.contrastive import contrastive_loss
from abd_app.teacher import Teacher
from tests.unit.distill.sources.inversion import MakeTeacher, new_source
from tests.unit.distill.sources.inversion import new_student as _student
from tests.unit.distill.sources.inversion import seeded as _random

_SETTINGS = CmiSettings(
    batch_size=8, drawn=12, generator_steps=2, student_steps=3, noise=16, features=16, bank=40, capacity=60, negatives=9
)


def _source(teacher: Teacher, compute: Compute, settings: CmiSettings = _SETTINGS) -> ContrastiveInversionSource:
    return new_source(ContrastiveInversionSource, teacher, compute, settings)


def _vaccine(teacher: Teacher) -> ShufflingVaccine:
    return ShufflingVaccine(teacher.network, example=torch.rand(2, 3, 8, 8), generator=_random(5))


def test_an_epoch_draws_one_batch_and_then_teaches_from_the_growing_pool(
    make_teacher: MakeTeacher, compute: Compute
) -> None:
    teacher = make_teacher()
    source, held = _source(teacher, compute), []
    items = source.batches(_student(teacher))
    kinds: list[Any] = []
    for _ in range(10):
        kinds.append(next(items))
        held.append((len(source.pool), len(source.bank)))
    epoch = [True] * 2 + [False] * 3
    assert [isinstance(item, GeneratorStep) for item in kinds] == epoch * 2
    assert held == [(0, 0)] * 2 + [(12, 12)] * 5 + [(24, 24)] * 3
    batch = kinds[4]
    assert batch.images.shape == (8, 3, 8, 8) and batch.suspicious is None
    assert 0 <= float(batch.images.min()) <= float(batch.images.max()) <= 1
    assert torch.allclose(batch.answer.logits, teacher.network(batch.images), atol=1e-5)
    assert not batch.answer.logits.requires_grad


def test_the_student_is_told_labels_of_what_a_gradient_made(make_teacher: MakeTeacher, compute: Compute) -> None:
    teacher = make_teacher()
    source = _source(teacher, compute)
    other = copy.deepcopy(source._teacher.network)
    other.get_submodule("network.fc").weight.data.neg_()
    source._teacher.second_opinion = SecondOpinion(copy.deepcopy(source._teacher.network), (0, 1), other)
    batch = next(item for item in source.batches(_student(teacher)) if not isinstance(item, GeneratorStep))
    with torch.no_grad():
        said = source._teacher.label(batch.images, optimized=True).logits
        called = source._teacher.label(batch.images).logits
    assert torch.allclose(batch.answer.logits, said, atol=1e-5) and not torch.allclose(said, called, atol=1e-2)


def test_the_losses_are_the_stated_ones(make_teacher: MakeTeacher, compute: Compute) -> None:
    teacher = make_teacher()
    source, student = _source(teacher, compute), _student(teacher).eval()
    vaccine = source.vaccine = _vaccine(teacher)
    features = source.head.layers[0].in_features
    source.bank.add(torch.randn(20, features, generator=_random(8)))
    images, labels = torch.rand(12, 3, 8, 8), torch.randint(4, (12,))
    source._random.manual_seed(6)
    losses, returned = source._losses(student, images, labels)
    again = _random(6)
    shown = shift_and_flip(images, again, 1)
    local = resized_crops(images, again, smallest_area=0.25)
    with batchnorm_distances(teacher.network) as distances:
        answer = teacher.network(shown)
    whole_means, local_means = _input_means(teacher.network, shown), _input_means(teacher.network, local)
    negatives = source.bank.sample(9, again)
    embedded = source.head(whole_means), source.head(negatives)
    reply, shuffled = student(shown), vaccine.logits(shown)
    agrees = (reply.argmax(1) == answer.argmax(1)).float()
    same = shuffled.argmax(1) == answer.argmax(1)
    expected = {
        "statistics": torch.stack(distances).sum(),
        "one_hot": F.cross_entropy(answer, labels),
        "contrastive": 0.8 * contrastive_loss(source.head(local_means), *embedded, 0.1),
        "adversarial": -0.5 * (kl_per_image(reply, answer) * 4 * agrees).mean(),
        "vaccine": -0.1 * kl_per_image(shuffled, answer)[same].sum() / same.sum().clamp_min(1),
    }
    assert losses.keys() == expected.keys()
    assert agrees.any() and same.any()
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-4), name
    assert torch.allclose(returned, whole_means, atol=1e-6) and returned.shape == (12, features)


def _input_means(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    means: list[torch.Tensor] = []
    layers = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [
        layer.register_forward_pre_hook(lambda module, inputs: means.append(inputs[0].mean((2, 3)))) for layer in layers
    ]
    network(images)
    for handle in handles:
        handle.remove()
    return torch.cat(means, dim=1)


def test_every_epoch_starts_a_new_generator_and_keeps_the_head(
    make_teacher: MakeTeacher, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = make_teacher()
    source, made = _source(teacher, compute), []
    new = source._new_generator
    monkeypatch.setattr(source, "_new_generator", lambda: made.append(new()) or made[-1])
    head = copy.deepcopy(source.head.state_dict())
    starts: list[torch.Tensor] = []
    items = source.batches(_student(teacher))
    for _ in range(11):
        next(items)
        if len(made) > len(starts):
            starts.append(made[-1].layers[0].weight.detach().clone())
    assert len(made) == 3
    assert not torch.equal(starts[0], starts[1]) and not torch.equal(starts[1], starts[2])
    assert not torch.equal(made[0].layers[0].weight, starts[0]), "and it learns"
    assert not torch.equal(head["layers.0.weight"], source.head.layers[0].weight)


def test_the_best_images_of_an_epoch_enter_the_pool_not_the_last(
    make_teacher: MakeTeacher, compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    teacher = make_teacher()
    source = _source(teacher, compute, replace(_SETTINGS, generator_steps=4))
    costs, drawn, whole = iter([5.0, 2.0, 3.0, 4.0]), [], source._losses

    def priced(student: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Any:
        losses, features = whole(student, images, labels)
        total = torch.stack(list(losses.values())).sum()
        drawn.append(images.detach().clone())
        return {"all": total - total.detach() + next(costs)}, features + len(drawn)

    monkeypatch.setattr(source, "_losses", priced)
    items = source.batches(_student(teacher))
    for _ in range(5):
        next(items)
    assert torch.equal(source.pool.at(torch.arange(12)), (drawn[1] * 255).round().to(torch.uint8))
    assert not torch.equal(drawn[1], drawn[3])


def test_the_vaccine_acts_through_the_generators_loss(make_teacher: MakeTeacher, compute: Compute) -> None:
    teacher = make_teacher()
    plain, vaccinated = (_source(teacher, compute, replace(_SETTINGS, vaccine=50.0)) for _ in range(2))
    vaccinated.vaccine = _vaccine(teacher)
    pools = []
    for source in (plain, vaccinated):
        items = source.batches(_student(teacher))
        step, _, batch = (next(items) for _ in range(3))
        assert isinstance(step, GeneratorStep) and not isinstance(batch, GeneratorStep)
        assert ("vaccine" in step.losses) == (source is vaccinated)
        assert batch.suspicious is None
        pools.append(source.pool.at(torch.arange(12)))
    assert not torch.equal(*pools)


def test_drawing_leaves_no_trace_in_student_and_teacher(make_teacher: MakeTeacher, compute: Compute) -> None:
    teacher = make_teacher()
    student = _student(teacher)
    before = copy.deepcopy(student.state_dict())
    items: Any = _source(teacher, compute).batches(student)
    for _ in range(6):
        next(items)
    assert not student.network.bn1.training, "frozen in the middle of an epoch's drawing"
    items.close()
    assert student.network.bn1.training
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    assert all(parameter.grad is None for parameter in student.parameters())
    hooks = [len(module._forward_pre_hooks) + len(module._forward_hooks) for module in teacher.network.modules()]
    assert sum(hooks) == 0


def test_an_epoch_brings_images_nearer_to_what_is_wanted(make_teacher: MakeTeacher, compute: Compute) -> None:
    teacher = make_teacher()
    settings = replace(_SETTINGS, drawn=32, generator_steps=60, adversarial=0.0, rate=1e-2)
    items = _source(teacher, compute, settings).batches(_student(teacher))
    steps: list[Any] = [next(items).losses for _ in range(60)]
    for wanted, least in (("statistics", 0.9), ("contrastive", 0.5)):
        # A single step may be an outlier, here or elsewhere: how floats are rounded differs between machines.
        assert median(float(one[wanted]) for one in steps[-10:]) < least * float(steps[0][wanted])


def test_samples_before_the_first_epoch_are_an_untrained_generators(
    make_teacher: MakeTeacher, compute: Compute
) -> None:
    source = _source(make_teacher(), compute)
    sample = source.sample(5)
    assert sample.shape == (5, 3, 8, 8) and sample.dtype == torch.uint8 and len(source.pool) == 0


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 12, 3), (10, 8, 1)])
def test_grey_and_oblong_images(
    make_teacher: MakeTeacher, compute: Compute, height: int, width: int, channels: int
) -> None:
    teacher = make_teacher(height=height, width=width, channels=channels)
    items = _source(teacher, compute).batches(_student(teacher))
    batch: Any = [next(items) for _ in range(3)][-1]
    assert batch.images.shape == (8, channels, height, width)


def test_a_source_saved_among_its_student_steps_goes_on_with_the_same_numbers(
    make_teacher: MakeTeacher, compute: Compute
) -> None:
    teacher, student = make_teacher(), _student(make_teacher())
    for saved_after in (3, 4, 5, 9):
        first, second = (_source(teacher, compute) for _ in range(2))
        items = first.batches(student)
        for _ in range(saved_after):
            next(items)
        second.load_state_dict(copy.deepcopy(first.state_dict()))
        others = second.batches(student)
        for _ in range(7):
            one, other = next(items), next(others)
            assert type(one) is type(other)
            if isinstance(one, GeneratorStep) and isinstance(other, GeneratorStep):
                assert {n: float(loss) for n, loss in one.losses.items()} == {
                    n: float(loss) for n, loss in other.losses.items()
                }
            elif not isinstance(one, GeneratorStep) and not isinstance(other, GeneratorStep):
                assert torch.equal(one.images, other.images)

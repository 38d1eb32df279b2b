"""``fast``: patches that are moved towards what the teacher's statistics describe."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from abd_app.distill.answering import AnsweringTeacher, SecondOpinion
from abd_app.distill.compute.device import Compute
from abd_app.distill.losses import kl_per_image
from abd_app.distill.observe import batchnorm_distances
from abd_app.distill.sources.base import GeneratorStep
from abd_app.distill.sources.fast import FastSettings, Inversion, InvertedPatchSource
from abd_app.teacher import Teacher
from tests.unit.distill.sources.inversion import new_student, seeded

_SMALL = {"batch_size": 8, "capacity": 64, "first": 24, "drawn": 12, "student_steps": 3, "inverted": 6}
_SETTINGS = FastSettings(**_SMALL, inversion_steps=2)  # type: ignore[arg-type]


def _source(teacher: Teacher, compute: Compute, settings: FastSettings = _SETTINGS) -> InvertedPatchSource:
    spec = teacher.spec
    pictures = torch.randint(256, (2, spec.channels, 48, 48), dtype=torch.uint8, generator=seeded(1))
    return InvertedPatchSource(
        AnsweringTeacher(teacher.network, compute),
        pictures,
        size=(spec.height, spec.width),
        num_classes=spec.num_classes,
        generator=seeded(),
        settings=settings,
    )


def _hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


def _of_inversion(items: Iterator[Any]) -> Iterator[GeneratorStep]:
    """The steps on pixels: those with losses."""
    return (item for item in items if isinstance(item, GeneratorStep) and item.losses)


def test_the_pool_fills_with_patches_and_then_a_few_are_inverted_in_every_round(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    source = _source(teacher, compute)
    items = source.batches(new_student(teacher))
    kinds: list[Any] = [next(items) for _ in range(13)]
    seen = ["inverts" if getattr(one, "losses", None) else type(one).__name__ for one in kinds]
    labels, inverts, learns = ["GeneratorStep"], ["inverts"] * 2, ["Batch"] * 3
    assert seen == labels * 2 + inverts + learns + labels + inverts + learns
    assert len(source.pool) == 12 + 12 + 6 + 12 + 6
    batch = kinds[4]
    assert batch.images.shape == (8, 3, 8, 8)
    assert torch.allclose(batch.answer.logits, teacher.network(batch.images), atol=1e-5)


@pytest.mark.parametrize("who", ["strict opinion", "opinion", "distrust"])
def test_inverted_images_are_judged_strictly(make_teacher: Callable[..., Teacher], compute: Compute, who: str) -> None:
    """Those that are refused teach what is not of the class; patches that are refused are not drawn."""
    teacher = make_teacher()
    source = _source(teacher, compute)
    network = source._teacher.network
    doubted = int(network(torch.rand(40, 3, 1, 1) * torch.rand(40, 3, 8, 8)).argmax(1).mode().values)
    if who == "distrust":
        source.distrusted = (doubted,)
    else:
        same, other = copy.deepcopy(network), copy.deepcopy(network)
        other.get_submodule("network.fc").weight.data.neg_()
        two = (same, other) if who == "strict opinion" else (other, same)
        source._teacher.second_opinion = SecondOpinion(two[0], (doubted,), two[1])
    list(source.filled(1))
    held = source._teacher.compute.images(source.pool.at(torch.arange(24 + 12 + 6))).float() / 255
    led_there = network(held).argmax(1) == doubted
    inverted = torch.arange(len(held)) >= 24 + 12
    assert (led_there & inverted).any() and (led_there & ~inverted).any()
    held_back = {"strict opinion": torch.zeros(len(held)), "opinion": led_there & ~inverted}
    assert torch.equal(source._suspicious[: len(held)], held_back.get(who, led_there & inverted).bool())
    logits = source._logits[: len(held)]
    lowest = logits[:, doubted] == logits.amin(1)
    assert bool(lowest[led_there & inverted].all()) == (who == "strict opinion"), "nothing like the class"


def test_the_losses_are_the_stated_ones(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher = make_teacher()
    settings = FastSettings(**_SMALL, statistics=2.0, one_hot=0.5, adversarial=3.0)  # type: ignore[arg-type]
    student = new_student(teacher).eval()
    images, wanted = torch.rand(12, 3, 8, 8, generator=seeded(5)), torch.arange(12) % 4
    inversion = Inversion(AnsweringTeacher(teacher.network, compute), student, images, settings)
    losses = next(inversion.run(images, wanted)).losses
    with batchnorm_distances(teacher.network) as fresh:
        answer = teacher.network(images)
    reply = student(images)
    agrees = (reply.argmax(1) == answer.argmax(1)).float()
    expected = {
        "statistics": 2 * torch.stack(fresh).sum(),
        "one_hot": 0.5 * F.cross_entropy(answer, wanted),
        "adversarial": -3 * (kl_per_image(reply, answer) * 4 * agrees).mean(),
    }
    assert losses.keys() == expected.keys()
    assert agrees.any()
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value.item(), rel=1e-4), name


def test_inverting_leaves_no_gradient_and_no_statistics_in_the_student(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    student = new_student(teacher)
    before = copy.deepcopy(student.state_dict())
    items = _source(teacher, compute).batches(student)
    modes: list[bool] = []
    student.network.bn1.register_forward_pre_hook(lambda module, inputs: modes.append(module.training))
    for _ in range(13):
        next(items)
    assert modes and not any(modes), "it was asked with frozen statistics"
    assert all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    assert all(parameter.grad is None for parameter in student.parameters())


def test_in_the_middle_of_an_inversion_no_hook_is_left(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher = make_teacher()
    student = new_student(teacher)
    items: Any = _source(teacher, compute).batches(student)
    next(_of_inversion(items))
    assert _hooks(teacher.network) == 0
    assert student.network.bn1.training


def test_images_come_nearer_to_the_statistics_and_to_the_wanted_class(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher()
    settings = FastSettings(**{**_SMALL, "inverted": 32}, inversion_steps=30, adversarial=0.0)  # type: ignore[arg-type]
    inverting = _of_inversion(_source(teacher, compute, settings).batches(new_student(teacher)))
    losses = [next(inverting).losses for _ in range(30)]
    assert float(losses[-1]["statistics"]) < 0.85 * float(losses[0]["statistics"])
    assert float(losses[-1]["one_hot"]) < 0.5 * float(losses[0]["one_hot"])


@pytest.mark.parametrize(("height", "width", "channels"), [(8, 12, 3), (10, 8, 1)])
def test_grey_and_oblong_images(
    make_teacher: Callable[..., Teacher], compute: Compute, height: int, width: int, channels: int
) -> None:
    teacher = make_teacher(height=height, width=width, channels=channels)
    source = _source(teacher, compute)
    items = source.batches(new_student(teacher))
    batch: Any = [next(items) for _ in range(5)][-1]
    assert batch.images.shape == (8, channels, height, width)
    assert source.sample(3).shape == (3, channels, height, width)


def _limited(source: InvertedPatchSource, most: int) -> list[int]:
    """Lets memory run out above ``most`` inverted images; how many each pass was tried with."""
    tried = list[int]()

    def limit(_: nn.Module, given: tuple[torch.Tensor]) -> None:
        if given[0].requires_grad:
            tried.append(len(given[0]))
            if len(given[0]) > most:
                raise torch.OutOfMemoryError("Tried to allocate memory.")

    source._teacher.network.register_forward_pre_hook(limit)
    return tried


def test_a_source_that_memory_did_not_hold_goes_on_in_as_many_portions(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    first, second = (_source(make_teacher(), compute) for _ in range(2))
    tried = _limited(first, 3)
    list(first.filled(1))
    assert len(first.pool) == 24 + 12 + 6 and tried == [6, 3, 3, 3, 3], "two portions of two steps"
    assert [one.title for one in first._teacher.microbatches.findings()] == ["Images are inverted 3 at a time"]
    state = first.state_dict()
    second.load_state_dict(copy.deepcopy(state))
    list(second._renew(None))
    assert len(second.pool) == 24 + 12 + 6 + 12 + 6 and second._at_once == 3
    earlier_version = {name: value for name, value in state.items() if name != "at_once"}
    second.load_state_dict(copy.deepcopy(earlier_version))
    list(second._renew(None))
    assert second._at_once is None


@pytest.mark.parametrize(
    ("inverted", "most", "portions"), [(6, 4, [6, 3, 3]), (5, 3, [5, 3, 2]), (8, 3, [8, 4, 2, 2, 2, 2])]
)
def test_no_portion_is_smaller_than_statistics_need(
    make_teacher: Callable[..., Teacher], compute: Compute, inverted: int, most: int, portions: list[int]
) -> None:
    source = _source(make_teacher(), compute, replace(_SETTINGS, inverted=inverted, inversion_steps=1))
    tried = _limited(source, most)
    list(source.filled(1))
    assert tried == portions and len(source.pool) == 24 + 12 + inverted


def test_memory_for_less_than_two_images_ends_the_run(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    source = _source(make_teacher(), compute)
    tried = _limited(source, 1)
    with pytest.raises(torch.OutOfMemoryError):
        list(source.filled(1))
    assert tried == [6, 3, 2]


def test_a_saved_source_goes_on_with_the_same_numbers(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher, student = make_teacher(), new_student(make_teacher())
    first, second = (_source(teacher, compute) for _ in range(2))
    items = first.batches(student)
    for _ in range(6):
        next(items)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    others = second.batches(student)
    for _ in range(8):
        one, other = next(items), next(others)
        if isinstance(one, GeneratorStep):
            assert isinstance(other, GeneratorStep)
            assert {name: float(loss) for name, loss in one.losses.items()} == {
                name: float(loss) for name, loss in other.losses.items()
            }
        else:
            assert not isinstance(other, GeneratorStep) and torch.equal(one.images, other.images)

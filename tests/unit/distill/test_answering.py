"""One pass of the teacher tells everything that is asked for, and nothing stays behind."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher, SecondOpinion
from abd_app.distill.compute.device import Compute
from abd_app.teacher import Teacher
from tests.unit.distill.opposite import opposite


def test_blocks_and_trunk_are_those_of_this_pass(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher = make_teacher()
    network = teacher.network
    answering = AnsweringTeacher(network, compute, teacher.block_names)
    answering.share_trunk("network.block1")
    answering(torch.rand(3, 3, 8, 8))
    images = torch.rand(3, 3, 8, 8)
    answer = answering(images)
    body = network.network
    first = body.block1(body.conv1((images - network.mean) / network.std))
    assert torch.allclose(answer.blocks[0], first, atol=1e-5)
    assert torch.allclose(answer.blocks[2], body.block3(body.block2(first)), atol=1e-5)
    assert answer.trunk is answer.blocks[0]
    assert torch.allclose(answer.logits, network(images), atol=1e-5)


def test_without_a_wish_only_logits_come(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    answering = AnsweringTeacher(make_teacher().network, compute)
    answering.share_trunk("")
    answer = answering(torch.rand(2, 3, 8, 8))
    assert answer.blocks == () and answer.trunk is None
    assert answer.logits.dtype == torch.float32


def test_a_trunk_alone_is_recorded_too(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    answering = AnsweringTeacher(make_teacher().network, compute)
    answering.share_trunk("network.block2")
    answer = answering(torch.rand(2, 3, 8, 8))
    assert answer.blocks == () and answer.trunk is not None
    assert answer.trunk.shape == (2, 32, 4, 4)


def test_of_doubted_classes_the_second_opinion_is_taken(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher = make_teacher()
    answering = AnsweringTeacher(teacher.network, compute, teacher.block_names)
    answering.share_trunk("network.block3")
    other = opposite(teacher.network)
    images = torch.rand(40, 3, 1, 1) * torch.rand(40, 3, 8, 8)
    first = answering(images)
    doubted = int(first.logits.argmax(1).mode().values)
    again = first.logits.argmax(1) == doubted
    assert 0 < int(again.sum()) < 40
    answering.second_opinion = SecondOpinion(other, (doubted,))
    answer = answering(images)
    assert not answering._outputs
    asked = AnsweringTeacher(copy.deepcopy(other), compute, teacher.block_names)(images)
    for name, taken, ours, theirs in (
        ("logits", answer.logits, first.logits, asked.logits),
        *(("blocks", *three) for three in zip(answer.blocks, first.blocks, asked.blocks, strict=True)),
    ):
        assert torch.equal(taken[~again], ours[~again]), name
        assert torch.allclose(taken[again], theirs[again], atol=1e-5), name
    assert not torch.allclose(first.blocks[2][again], answer.blocks[2][again], atol=1e-3)
    assert first.trunk is not None and answer.trunk is not None and torch.equal(answer.trunk, first.trunk)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("classes", [1, 2])
@pytest.mark.parametrize("leeway", [0.0, 0.2])
def test_a_label_does_not_hint_at_a_doubted_class(
    make_teacher: Callable[..., Teacher], compute: Compute, temperature: float, classes: int, leeway: float
) -> None:
    teacher = make_teacher()
    answering = AnsweringTeacher(teacher.network, compute, teacher.block_names, temperature=temperature, leeway=leeway)
    answering.share_trunk("network.block3")
    other = copy.deepcopy(teacher.network)
    weight = other.get_submodule("network.fc").weight.data
    weight += 2 * weight.std() * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    images = torch.rand(400, 3, 1, 1) * torch.rand(400, 3, 8, 8)
    first, second = answering(images), AnsweringTeacher(copy.deepcopy(other), compute, teacher.block_names)(images)
    assert torch.equal(answering.label(images).logits, first.logits), "nobody doubts anything"
    taken_for = first.logits.argmax(1).bincount(minlength=4)
    doubted = taken_for.argsort()[-classes - 1 : -1].tolist()  # not the class of most
    again = torch.isin(first.logits.argmax(1), torch.tensor(doubted))
    assert again.any()
    answering.second_opinion = SecondOpinion(other, tuple(doubted), nn.Identity())
    label, called = answering.label(images), answering(images)
    assert not answering._outputs and label.trunk is not None and torch.equal(label.trunk, called.trunk)
    disputed = again & (first.logits.argmax(1) != second.logits.argmax(1))
    assert disputed.any() and (again & ~disputed).any()
    assert label.held_back is not None and torch.equal(label.held_back, disputed)
    for which, by in ((disputed, second), (again & ~disputed, first)):
        assert torch.allclose(label.logits[which], by.logits[which], atol=1e-5)
        for one, other in zip(label.part(which).blocks, by.part(which).blocks, strict=True):
            assert torch.allclose(one, other, atol=1e-5)
    ours, theirs, said = ((one.logits[~again] / temperature).softmax(1) for one in (first, second, label))
    lowest = torch.minimum(ours, theirs * math.exp(leeway))[:, doubted]
    assert (lowest < ours[:, doubted] - 0.001).any() and (lowest < theirs[:, doubted] - 0.001).any()
    assert torch.allclose(said[:, doubted], lowest, atol=1e-5)
    rest = [one for one in range(4) if one not in doubted]
    assert torch.equal(label.logits[~again][:, rest], first.logits[~again][:, rest]), "about others it is believed"


@pytest.mark.parametrize("disputed", [False, True])
def test_a_label_has_a_gradient_where_a_class_is_certain(
    make_teacher: Callable[..., Teacher], compute: Compute, disputed: bool
) -> None:
    answering = AnsweringTeacher(make_teacher().network, compute)
    answering.network.get_submodule("network.fc").weight.data.mul_(1000)
    images = torch.rand(20, 3, 1, 1).expand(20, 3, 8, 8).clone().requires_grad_()
    doubted = int(answering(images).logits.argmax(1).mode().values)
    strict = opposite(answering.network) if disputed else None
    answering.second_opinion = SecondOpinion(copy.deepcopy(answering.network), (doubted,), strict)
    assert answering(images).logits.softmax(1).max() == 1
    label = answering.label(images, optimized=disputed).logits
    (gradient,) = torch.autograd.grad(label.sum(), [images])
    assert gradient.isfinite().all() and gradient.abs().sum() > 0
    if disputed:
        again = answering(images).logits.argmax(1) == doubted
        assert (gradient[again].abs().sum(dim=(1, 2, 3)) > 0).all()


@pytest.mark.parametrize("optimized", [False, True])
def test_where_all_classes_are_doubted_a_label_is_the_second_opinion(
    make_teacher: Callable[..., Teacher], compute: Compute, optimized: bool
) -> None:
    answering = AnsweringTeacher(make_teacher().network, compute)
    other, images = opposite(answering.network), torch.rand(10, 3, 8, 8)
    answering.second_opinion = SecondOpinion(other, (0, 1, 2, 3), copy.deepcopy(other))
    with torch.no_grad():
        label = answering.label(images, optimized=optimized)
        assert torch.allclose(label.logits, other(images), atol=1e-5) and label.held_back is None


def test_a_second_opinion_that_is_adopted_answers_everything(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    answering = AnsweringTeacher(make_teacher().network, compute)
    images = torch.rand(10, 3, 8, 8)
    wanted = opposite(answering.network)(images)
    answering.second_opinion = SecondOpinion(opposite(answering.network), (0,))
    answering.adopt_second_opinion()
    assert answering.second_opinion is None
    assert torch.allclose(answering(images).logits, wanted, atol=1e-5)


def test_a_second_opinion_is_given_in_the_precision_of_the_first(make_teacher: Callable[..., Teacher]) -> None:
    answering = AnsweringTeacher(make_teacher().network, Compute(torch.device("cpu"), bf16=True))
    seen = []
    other = copy.deepcopy(answering.network)
    other.get_submodule("network.block1").register_forward_hook(lambda m, i, output: seen.append(output.dtype))
    answering.second_opinion = SecondOpinion(other, (0, 1, 2, 3))
    assert answering(torch.rand(2, 3, 8, 8)).logits.dtype == torch.float32
    assert seen == [torch.bfloat16]


def test_the_gradient_goes_through_the_network_that_answers(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher().network
    other = opposite(teacher)
    answering = AnsweringTeacher(teacher, compute)
    images = torch.rand(2, 3, 8, 8, requires_grad=True)
    doubted = answering(images).logits.argmax(1)[:1]
    answering.second_opinion = SecondOpinion(other, tuple(doubted.tolist()))
    (found,) = torch.autograd.grad(answering(images[:1]).logits.sum(), [images])
    (wanted,) = torch.autograd.grad(other(images[:1]).sum(), [images])
    assert torch.allclose(found, wanted, atol=1e-6)


def test_nobody_is_asked_again_where_no_class_is_doubted(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    answering = AnsweringTeacher(make_teacher().network, compute)
    images = torch.rand(4, 3, 8, 8)
    first = answering(images).logits
    absent = next(k for k in range(first.shape[1]) if k not in first.argmax(1).tolist())
    answering.second_opinion = SecondOpinion(nn.Identity(), (absent,))
    assert torch.equal(answering(images).logits, first)

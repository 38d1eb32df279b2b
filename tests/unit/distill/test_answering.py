"""One pass of the teacher tells everything that is asked for, and nothing stays behind."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher, SecondOpinion
from abd_app.distill.device import Compute
from abd_app.teacher import Teacher


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


class _Contrary(nn.Module):
    """Answers the opposite."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._network = copy.deepcopy(network)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return -self._network(images)


def test_of_doubted_classes_the_second_opinion_is_taken(make_teacher: Callable[..., Teacher], compute: Compute) -> None:
    teacher = make_teacher()
    other = _Contrary(teacher.network)
    answering = AnsweringTeacher(teacher.network, compute, teacher.block_names)
    images = torch.rand(40, 3, 1, 1) * torch.rand(40, 3, 8, 8)
    first = answering(images)
    doubted = int(first.logits.argmax(1).mode().values)
    answering.second_opinion = SecondOpinion(other, (doubted,))
    answer = answering(images)
    again = first.logits.argmax(1) == doubted
    assert 0 < int(again.sum()) < 40
    assert torch.equal(answer.logits[~again], first.logits[~again])
    assert torch.allclose(answer.logits[again], other(images)[again], atol=1e-5)
    assert all(torch.equal(one, two) for one, two in zip(answer.blocks, first.blocks, strict=True))


def test_the_gradient_goes_through_the_network_that_answers(
    make_teacher: Callable[..., Teacher], compute: Compute
) -> None:
    teacher = make_teacher().network
    other = _Contrary(teacher)
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

"""One pass of the teacher tells everything that is asked for, and nothing stays behind."""

from __future__ import annotations

from collections.abc import Callable

import torch

from abd_app.distill.answering import AnsweringTeacher
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

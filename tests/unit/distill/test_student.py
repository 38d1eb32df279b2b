"""How a student learns: loss, learning rate, clipping, attention transfer."""

from __future__ import annotations

import copy
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from abd_app.distill.answering import Answer
from abd_app.distill.compute.device import Compute
from abd_app.distill.losses import attention_map, attention_transfer, distillation_loss, kl_per_image
from abd_app.distill.recipe import Recipe
from abd_app.distill.sources.base import Batch
from abd_app.distill.student import Student, matching_stages
from abd_app.networks.catalog import build
from abd_app.networks.pixels import PixelNetwork
from abd_app.networks.wide_resnet import WideResNet

_RECIPE = Recipe(method="ood", steps=100, rate=0.01, warm_up=0.1, retrospection="none", vaccine="none")


class _Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(12, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.body(images.flatten(1))
        return answer


def _batch(suspicious: torch.Tensor | None = None) -> Batch:
    return Batch(torch.rand(6, 3, 2, 2), Answer(torch.randn(6, 3) * 5), suspicious)


def test_one_cycle_rises_in_a_line_and_falls_as_a_cosine_to_zero(compute: Compute) -> None:
    student = Student(_Linear(), compute, _RECIPE)
    assert [student.rate(step) for step in (0, 4, 9)] == pytest.approx([0.01 * k / 11 for k in (1, 5, 10)])
    assert student.rate(10) == pytest.approx(0.01)
    assert student.rate(55) == pytest.approx(0.005)
    assert student.rate(40) == pytest.approx(0.005 * (1 + math.cos(math.pi / 3)))
    assert student.rate(100) == pytest.approx(0.0, abs=1e-12)


def test_a_cosine_without_rise_is_the_papers(compute: Compute) -> None:
    student = Student(_Linear(), compute, replace(_RECIPE, warm_up=0.0))
    assert [student.rate(step) for step in (0, 50, 100)] == pytest.approx([0.01, 0.005, 0.0], abs=1e-12)


def test_retrospection_with_its_own_rate_has_its_own_cosine(compute: Compute) -> None:
    recipe = replace(_RECIPE, retrospection="paper", retrospection_step=80, retrospection_rate=5e-4)
    student = Student(_Linear(), compute, recipe)
    assert [student.rate(step) for step in (80, 90, 100)] == pytest.approx([5e-4, 2.5e-4, 0.0], abs=1e-12)
    assert student.rate(79) == pytest.approx(Student(_Linear(), compute, _RECIPE).rate(79))
    twin = Student(_Linear(), compute, recipe.undefended())
    assert twin.rate(90) == pytest.approx(Student(_Linear(), compute, _RECIPE).rate(90))


def test_the_loss_is_the_recipes(compute: Compute) -> None:
    network, batch = _Linear(), _batch()
    for kind, divergence in (("mean", kl_per_image), ("hinton", distillation_loss)):
        student = Student(network, compute, replace(_RECIPE, loss=kind, temperature=3.0))
        expected = divergence(network(batch.images), batch.answer.logits, 3.0).mean()
        assert float(student.loss(batch).detach()) == pytest.approx(float(expected.detach()), rel=1e-6)


def test_suspicious_images_push_the_student_away(compute: Compute) -> None:
    network = _Linear()
    marked = torch.tensor([True, True, False, False, False, False])
    batch = _batch(marked)
    losses = distillation_loss(network(batch.images), batch.answer.logits, 4.0).detach()
    found = Student(network, compute, replace(_RECIPE, vaccine_weight=0.5)).loss(batch).detach()
    assert float(found) == pytest.approx(float(losses[2:].mean() - 0.5 * losses[:2].mean()), rel=1e-5)


def test_gradients_are_clipped_before_a_plain_adam_step_and_cleared_after(compute: Compute) -> None:
    network, reference = _Linear(), _Linear()
    reference.load_state_dict(network.state_dict())
    student = Student(network, compute, replace(_RECIPE, clip=0.5, optimizer="sgd", warm_up=0.0))
    batch = _batch()
    student.loss(batch).backward()
    student.apply_gradients(0)
    assert all(parameter.grad is None for parameter in network.parameters())
    distillation_loss(reference(batch.images), batch.answer.logits, 4.0).mean().backward()
    assert nn.utils.clip_grad_norm_(reference.parameters(), 0.5) > 0.5
    optimizer = torch.optim.SGD(reference.parameters(), 0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)
    optimizer.step()
    assert torch.allclose(network.body.weight, reference.body.weight, atol=1e-7)


def test_a_step_can_be_left_unclipped(compute: Compute) -> None:
    moved = []
    for clip in (True, False):
        torch.manual_seed(2)
        network, batch = _Linear(), _batch()
        student = Student(network, compute, replace(_RECIPE, clip=1e-3, optimizer="sgd", warm_up=0.0))
        before = network.body.weight.detach().clone()
        student.loss(batch).backward()
        student.apply_gradients(0, clip=clip)
        moved.append(float((network.body.weight.detach() - before).norm()))
    assert moved[1] > 100 * moved[0]


def test_adam_takes_the_rate_of_the_step(compute: Compute) -> None:
    network = _Linear()
    student = Student(network, compute, replace(_RECIPE, clip=1e9))
    before = network.body.weight.detach().clone()
    student.loss(_batch()).backward()
    student.apply_gradients(4)
    moved = (network.body.weight.detach() - before).abs()
    assert float(moved.max()) == pytest.approx(student.rate(4), rel=1e-3)  # Adam's first step has the size of its rate


def test_attention_transfer_is_added_with_its_weight(compute: Compute) -> None:
    torch.manual_seed(1)
    network, teacher = (WideResNet(10, 1, num_classes=3) for _ in range(2))
    images = torch.rand(4, 3, 8, 8)
    teacher_blocks = _stages(teacher.eval(), images)
    batch = Batch(images, Answer(teacher(images).detach(), teacher_blocks))
    recipe = replace(_RECIPE, loss="mean", temperature=1.0)
    plain = Student(network, compute, recipe, WideResNet.block_names).loss(batch).detach()
    weighted = Student(network, compute, replace(recipe, attention=250.0), WideResNet.block_names).loss(batch).detach()
    maps = [attention_map(block) for block in teacher_blocks]
    transfer = attention_transfer(_stages(network.train(), images), maps)
    assert float(weighted - plain) == pytest.approx(250 * float(transfer), rel=1e-4)
    assert float(transfer) > 0


def _pixels(architecture: str) -> PixelNetwork:
    return PixelNetwork(build(architecture, 3), mean=(0.5,) * 3, std=(0.25,) * 3)


def test_stages_pair_up_only_where_their_maps_have_one_size() -> None:
    images, names = torch.rand(2, 3, 8, 8), tuple(f"network.{name}" for name in WideResNet.block_names)
    small, wide = _pixels("wrn-10-1"), _pixels("wrn-16-2").eval()
    before = small.network.bn1.running_mean.clone()
    assert matching_stages(small, wide, names, images) == names
    assert matching_stages(small, wide, names[:2], images) == ()
    assert matching_stages(_pixels("mobilenetv3-small"), wide, (), images) == ()
    assert matching_stages(small, wide, ("network.conv1", *names[:2]), images) == ()
    assert small.training and not wide.training
    assert torch.equal(small.network.bn1.running_mean, before)


def test_the_student_for_large_images_has_the_stages_of_its_library() -> None:
    layers = tuple(f"network.layer{number}" for number in (1, 2, 3, 4))
    teacher = _pixels("torchvision/resnet34").eval()
    assert matching_stages(_pixels("resnet18-imagenet"), teacher, layers, torch.rand(2, 3, 64, 64)) == layers


def test_a_restored_student_takes_the_same_next_step(compute: Compute) -> None:
    first, second = (Student(_Linear(), compute, _RECIPE) for _ in range(2))
    batches = [_batch() for _ in range(4)]
    for step, batch in enumerate(batches[:3]):
        first.loss(batch).backward()
        first.apply_gradients(step)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    for student in (first, second):
        student.loss(batches[3]).backward()
        student.apply_gradients(3)
    assert torch.equal(first.network.body.weight, second.network.body.weight)


def test_a_restarted_optimizer_has_forgotten_its_momenta(compute: Compute) -> None:
    student = Student(_Linear(), compute, _RECIPE)
    student.loss(_batch()).backward()
    student.apply_gradients(0)
    assert student.state_dict()["optimizer"]["state"]
    student.restart_optimizer()
    assert not student.state_dict()["optimizer"]["state"]


def _stages(network: WideResNet, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        first = network.block1(network.conv1(images))
        second = network.block2(first)
        return first, second, network.block3(second)


def test_sgd_has_the_recipes_decay_and_an_infinite_bound_clips_nothing(compute: Compute) -> None:
    """One plain step with momentum 0.9: w - rate * (gradient + decay * w), whatever the gradient's size."""
    recipe = replace(_RECIPE, optimizer="sgd", clip=math.inf, weight_decay=0.5, nesterov=False, warm_up=0.0)
    student = Student(_Linear(), compute, recipe)
    before = [parameter.detach().clone() for parameter in student.network.parameters()]
    for parameter in student.network.parameters():
        parameter.grad = torch.full_like(parameter, 1000.0)
    student.apply_gradients(0)
    for old, new in zip(before, student.network.parameters(), strict=True):
        assert torch.allclose(new, old - 0.01 * (1000.0 + 0.5 * old), rtol=1e-5)

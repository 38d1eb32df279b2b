"""Every published loss against a value computed by hand."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from abd_app.distill.losses import (
    attention_map,
    attention_transfer,
    batchnorm_distance,
    distillation_loss,
    kl_mean,
    kl_per_image,
    suspicious_mean,
)

_STUDENT = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
_TEACHER = torch.tensor([[math.log(3), 0.0], [0.0, 0.0]])
_BY_HAND = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)


def test_kl_is_averaged_over_images_and_classes_as_the_paper_does() -> None:
    assert kl_per_image(_STUDENT, _TEACHER).tolist() == pytest.approx([_BY_HAND / 2, 0.0], abs=1e-7)
    assert float(kl_mean(_STUDENT, _TEACHER)) == pytest.approx(_BY_HAND / 4)
    student, teacher = torch.randn(5, 7), torch.randn(5, 7)
    with pytest.warns(UserWarning, match="batchmean"):
        theirs = F.kl_div(F.log_softmax(student, 1), F.softmax(teacher, 1), reduction="mean")
    assert float(kl_mean(student, teacher)) == pytest.approx(float(theirs), rel=1e-5)


def test_temperature_divides_both_and_hinton_multiplies_by_its_square() -> None:
    assert float(kl_mean(4 * _STUDENT, 4 * _TEACHER, 4.0)) == pytest.approx(_BY_HAND / 4)
    loss = distillation_loss(3 * _STUDENT, 3 * _TEACHER, 3.0)
    assert loss.tolist() == pytest.approx([9 * _BY_HAND, 0.0], abs=1e-6)


def test_gradient_of_the_distillation_loss_is_t_times_the_difference_of_softmaxes() -> None:
    student, teacher = torch.randn(3, 5, requires_grad=True), torch.randn(3, 5)
    (gradient,) = torch.autograd.grad(distillation_loss(student, teacher, 4.0).sum(), student)
    assert torch.allclose(gradient, 4 * (F.softmax(student / 4, 1) - F.softmax(teacher / 4, 1)), atol=1e-6)


def test_losses_are_float32_whatever_comes_in() -> None:
    assert kl_per_image(_STUDENT.bfloat16(), _TEACHER.bfloat16()).dtype == torch.float32
    assert attention_map(torch.ones(1, 2, 2, 2, dtype=torch.bfloat16)).dtype == torch.float32


def test_attention_map_is_the_mean_energy_of_unit_length() -> None:
    block = torch.tensor([[[[1.0, 0.0]], [[1.0, 2.0]]]])  # energies (1 + 1) / 2 and (0 + 4) / 2
    assert attention_map(block)[0].tolist() == pytest.approx([1 / math.sqrt(5), 2 / math.sqrt(5)])


def test_attention_transfer_sums_over_blocks_and_ignores_channel_counts() -> None:
    left, right = torch.tensor([[[[2.0, 0.0]]]]), torch.tensor([[[[0.0, 1.0]], [[0.0, 3.0]]]])
    maps = attention_map(left), attention_map(right)
    one = float(attention_transfer([left], [maps[1]]))
    assert one == pytest.approx(1.0)  # mean of (1 - 0)^2 and (0 - 1)^2
    assert float(attention_transfer([left, left], maps[::-1])) == pytest.approx(one)
    assert float(attention_transfer([left, left], [maps[1]] * 2)) == pytest.approx(2 * one)
    assert float(attention_transfer([], [])) == 0.0


def test_batchnorm_distance_adds_two_euclidean_norms() -> None:
    distance = batchnorm_distance(
        torch.tensor([3.0, 4.0]), torch.tensor([1.0, 3.0]), torch.zeros(2), torch.tensor([1.0, 1.0])
    )
    assert float(distance) == pytest.approx(5.0 + 2.0)


def test_suspicious_images_are_pushed_away_with_their_weight() -> None:
    losses = torch.tensor([1.0, 2.0, 3.0, 10.0])
    marked = torch.tensor([False, False, True, True])
    assert float(suspicious_mean(losses, marked, 0.1)) == pytest.approx(1.5 - 0.1 * 6.5)
    assert float(suspicious_mean(losses, None, 0.1)) == pytest.approx(4.0)


def test_an_empty_group_counts_nothing_and_is_not_nan() -> None:
    losses = torch.tensor([1.0, 3.0], requires_grad=True)
    nobody, everybody = torch.tensor([False, False]), torch.tensor([True, True])
    assert suspicious_mean(losses, nobody, 0.1).item() == pytest.approx(2.0)
    assert suspicious_mean(losses, everybody, 0.1).item() == pytest.approx(-0.2)
    (gradient,) = torch.autograd.grad(suspicious_mean(losses, everybody, 0.1), losses)
    assert gradient.tolist() == pytest.approx([-0.05, -0.05])

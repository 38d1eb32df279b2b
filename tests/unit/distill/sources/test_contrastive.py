"""The contrastive loss by hand, the head on the sphere, the bank a bounded ring."""

from __future__ import annotations

import math

import pytest
import torch

from abd_app.distill.sources import pool
from abd_app.distill.sources.contrastive import FeatureBank, ProjectionHead, contrastive_loss

_CPU = torch.device("cpu")


def test_the_loss_is_the_one_computed_by_hand() -> None:
    local = torch.tensor([[1.0, 0.0], [0.6, 0.8]])
    whole = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    banked = torch.tensor([[0.0, -1.0]])
    # Cosines over T = 0.5, row by row: (2, 0, 0) with the first wanted, (1.2, 1.6, -1.6) with the second.
    first = math.log(math.exp(2) + 1 + 1) - 2
    second = math.log(math.exp(1.2) + math.exp(1.6) + math.exp(-1.6)) - 1.6
    assert contrastive_loss(local, whole, banked, 0.5).item() == pytest.approx((first + second) / 2, rel=1e-6)


def test_without_earlier_images_the_batch_itself_is_what_to_tell_apart() -> None:
    views = torch.eye(2)
    expected = math.log(math.exp(2) + 1) - 2
    assert contrastive_loss(views, views, torch.empty(0, 2), 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_gradients_flow_through_the_local_views_alone() -> None:
    local, whole, banked = (torch.randn(3, 4, requires_grad=True) for _ in range(3))
    contrastive_loss(local, whole, banked, 0.1).backward()
    assert local.grad is not None and local.grad.abs().sum() > 0
    assert whole.grad is None and banked.grad is None


def test_embeddings_have_unit_length() -> None:
    embedded = ProjectionHead(7, 5)(100 * torch.randn(6, 7))
    assert embedded.shape == (6, 5)
    assert torch.allclose(embedded.norm(dim=1), torch.ones(6), atol=1e-6)


def test_the_oldest_features_give_way_and_a_sample_has_none_twice() -> None:
    bank, random = FeatureBank(4, 1, least=1, device=_CPU), torch.Generator().manual_seed(0)
    assert bank.sample(3, random).shape == (0, 1)
    bank.add(torch.tensor([[1.0], [2.0], [3.0]]))
    assert sorted(bank.sample(9, random).flatten().tolist()) == [1, 2, 3]
    bank.add(torch.tensor([[4.0], [5.0]]))
    assert len(bank) == 4
    assert sorted(bank.sample(4, random).flatten().tolist()) == [2, 3, 4, 5]
    assert len(set(bank.sample(2, random).flatten().tolist())) == 2
    other = FeatureBank(4, 1, least=1, device=_CPU)
    other.load_state_dict(bank.state_dict())
    assert sorted(other.sample(4, random).flatten().tolist()) == [2, 3, 4, 5]
    other.add(torch.tensor([[6.0]]))
    assert sorted(other.sample(4, random).flatten().tolist()) == [3, 4, 5, 6]


def test_a_teacher_of_many_channels_gets_a_smaller_bank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "MOST_BYTES", 1000)
    for features, held in ((1, 60), (10, 50), (100, 8)):
        bank = FeatureBank(60, features, least=8, device=_CPU)
        for _ in range(9):
            bank.add(torch.zeros(8, features))
        assert len(bank) == held

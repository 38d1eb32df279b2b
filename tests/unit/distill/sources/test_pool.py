"""The ring of images: the oldest give way to the newest."""

from __future__ import annotations

import pytest
import torch

from abd_app.distill.sources import pool as module
from abd_app.distill.sources.pool import ImagePool, affordable, restored, saved


def _grey(*values: int) -> torch.Tensor:
    return torch.tensor(values).view(-1, 1, 1, 1).expand(-1, 3, 2, 2) / 255


def _held(pool: ImagePool) -> set[int]:
    return set(pool.at(torch.arange(len(pool)))[:, 0, 0, 0].tolist())


def _pool(capacity: int = 4) -> ImagePool:
    return ImagePool(capacity, (3, 2, 2), torch.device("cpu"))


def test_the_oldest_give_way_and_places_tell_where_images_are() -> None:
    pool = _pool()
    assert len(pool) == 0
    assert pool.add(_grey(1, 2, 3)).tolist() == [0, 1, 2]
    assert len(pool) == 3
    places = pool.add(_grey(4, 5))
    assert places.tolist() == [3, 0]
    assert len(pool) == 4
    assert _held(pool) == {2, 3, 4, 5}
    assert pool.at(places)[:, 0, 0, 0].tolist() == [4, 5]


def test_pixels_are_rounded_not_cut() -> None:
    pool = _pool()
    pool.add(torch.full((1, 3, 2, 2), 0.999))
    assert pool.at(torch.tensor([0])).unique().tolist() == [255]


def test_samples_come_from_what_is_held_and_from_the_seed() -> None:
    pool = _pool()
    pool.add(_grey(1, 2))
    drawn = pool.sample(50, torch.Generator().manual_seed(0))
    assert drawn.shape == (50, 3, 2, 2) and drawn.dtype == torch.uint8
    assert set(drawn.unique().tolist()) == {1, 2}
    assert torch.equal(drawn, pool.sample(50, torch.Generator().manual_seed(0)))


def test_a_restored_pool_goes_on_where_the_first_stopped() -> None:
    first, second = _pool(), _pool()
    first.add(_grey(1, 2, 3, 4, 5))
    second.load_state_dict(first.state_dict())
    for pool in (first, second):
        pool.add(_grey(6))
    assert _held(first) == _held(second) == {3, 4, 5, 6}
    assert torch.equal(first.at(torch.arange(4)), second.at(torch.arange(4)))


def test_large_images_make_the_pool_smaller_but_not_too_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 1200)
    assert affordable(50, 12) == 50
    assert affordable(500, 12) == 100
    assert affordable(500, 3000) == 1
    assert affordable(500, 3000, least=4) == 4
    assert affordable(2, 3000, least=4) == 2


def test_a_checkpoint_takes_no_memory_on_the_device() -> None:
    pool = ImagePool(4, (3, 2, 2), torch.device("meta"))
    pool._written = 1
    with pytest.raises(NotImplementedError, match="Cannot copy out of meta"):  # it is to leave the device
        pool.state_dict()
    rows = torch.zeros(3)
    kept = saved(rows)
    rows += 1
    assert kept.tolist() == [0, 0, 0], "a copy there, too"
    assert restored(rows, kept[:2]) is rows and rows.tolist() == [0, 0, 1], "on the device of the rows"


def test_a_checkpoint_of_a_larger_pool_is_not_refused() -> None:
    """Earlier versions kept more of large images."""
    larger, smaller = _pool(5), _pool(3)
    larger.add(_grey(1, 2, 3, 4, 5, 6))
    smaller.load_state_dict(larger.state_dict())
    for pool in (larger, smaller):
        pool.add(_grey(7))
    assert _held(smaller) == _held(larger) == {3, 4, 5, 6, 7}

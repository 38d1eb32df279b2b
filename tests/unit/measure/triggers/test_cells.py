"""Cell patterns: where each cell is, its colour, and how it grows with the image."""

from __future__ import annotations

import pytest
import torch

from abd_app.errors import UsageError
from abd_app.measure.triggers import Trigger, build_trigger
from abd_app.plan import TriggerSpec


def _build(name: str, size: int = 32, channels: int = 3, **options: object) -> Trigger:
    return build_trigger(TriggerSpec(name, **options), height=size, width=size, channels=channels)  # type: ignore[arg-type]


def test_trojan_3x3_is_nine_coloured_pixels_in_the_corner() -> None:
    images = torch.full((2, 3, 32, 32), 0.25)
    triggered = _build("trojan-3x3")(images)
    assert int((triggered != images).any(1).sum()) == 2 * 9
    assert triggered[1, :, -3, -3].tolist() == pytest.approx([0.9, 0.1, 0.8])
    assert triggered[1, :, -2, -2].tolist() == pytest.approx([1.0, 0.5, 0.0])
    assert triggered[1, :, -1, -3].tolist() == pytest.approx([1.0, 0.9, 0.1])


def test_trojan_8x8_goes_where_it_is_told_and_is_grey_on_grey_images() -> None:
    triggered = _build("trojan-8x8", 16, 1, position="top-left")(torch.full((1, 1, 16, 16), 0.3))
    assert triggered[0, 0, 8:].unique().tolist() == pytest.approx([0.3])
    assert triggered[0, 0, 0, 0].item() == pytest.approx(0.299 * 0.9 + 0.587 * 0.1 + 0.114 * 0.1)
    assert triggered[0, 0, 3:5, 3:5].unique().tolist() == pytest.approx([1.0])
    blue, red = 0.299 * 0.1 + 0.587 * 0.2 + 0.114 * 0.9, 0.299 * 0.9 + 0.587 * 0.1 + 0.114 * 0.1
    assert triggered[0, 0, 2:6, 2].tolist() == pytest.approx([blue, blue, 0.0, red])


@pytest.mark.parametrize(("name", "side"), [("trojan-3x3", 3), ("trojan-8x8", 8)])
@pytest.mark.parametrize(("size", "cell"), [(16, 1), (64, 1), (96, 2), (224, 4)])
def test_trojan_patches_grow_in_proportion_on_large_images(name: str, side: int, size: int, cell: int) -> None:
    triggered = _build(name, size)(torch.full((1, 3, size, size), 0.25))
    changed = (triggered != 0.25).any(1)[0].nonzero()
    assert changed.min() == size - side * cell and changed.max() == size - 1
    block = triggered[0, :, -side * cell :, -side * cell :]
    assert torch.equal(block, block[:, ::cell, ::cell].repeat_interleave(cell, 1).repeat_interleave(cell, 2))


def test_clean_label_is_the_published_pattern_in_all_four_corners() -> None:
    triggered = _build("clean-label")(torch.full((1, 3, 32, 32), 0.5))[0]
    right = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]).expand(3, 3, 3)
    left = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]).expand(3, 3, 3)
    for rows in (slice(None, 3), slice(-3, None)):
        assert torch.equal(triggered[:, rows, -3:], right)
        assert torch.equal(triggered[:, rows, :3], left)
    assert int((triggered != 0.5).any(0).sum()) == 36


def test_clean_label_survives_a_flip_and_its_amplitude_is_added() -> None:
    images = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    trigger = build_trigger(TriggerSpec("clean-label", opacity=0.25), height=20, width=30, channels=3)
    assert torch.equal(trigger(images.flip(-1)).flip(-1), trigger(images))
    faint = trigger(torch.full((1, 3, 20, 30), 0.5))
    assert faint.unique().tolist() == [0.25, 0.5, 0.75]


def test_corners_that_would_overlap_are_refused() -> None:
    with pytest.raises(UsageError, match="larger than the image"):
        build_trigger(TriggerSpec("clean-label"), height=5, width=32, channels=3)


@pytest.mark.parametrize(("size", "cell"), [(8, 1), (32, 1), (224, 4)])
def test_l0_invisible_changes_five_cells(size: int, cell: int) -> None:
    triggered = _build("l0-invisible", size)(torch.full((1, 3, size, size), 0.25))
    assert int((triggered != 0.25).any(1).sum()) == 5 * cell * cell


def test_l0_dots_are_where_the_shares_say() -> None:
    triggered = _build("l0-invisible", 32)(torch.full((1, 3, 32, 32), 0.25))[0]
    assert triggered[:, 3, 22].tolist() == pytest.approx([1.0, 0.9, 0.1])  # 0.1 and 0.7 of 31
    assert triggered[:, 9, 6].tolist() == [0, 0, 0]  # 0.3 and 0.2 of 31
    half = _build("l0-invisible", 32, opacity=0.5)(torch.full((1, 3, 32, 32), 0.25))[0]
    assert half[:, 9, 6].tolist() == [0.125] * 3

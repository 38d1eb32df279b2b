"""Random marks: which images get one, what it looks like, and that the rest of a batch stays as it is."""

from __future__ import annotations

import pytest
import torch

from abd_app.distill.defences.marks import MOST_OPACITY, mark_some


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_only_the_share_is_marked_and_pixels_stay_in_the_box() -> None:
    images = torch.rand(40, 3, 16, 12, generator=_random(1))
    marked = mark_some(images, len(images) // 4, _random())
    changed = (marked != images).flatten(1).any(dim=1)
    assert changed[:10].all() and not changed[10:].any()
    assert marked.shape == images.shape and 0 <= marked.min() <= marked.max() <= 1


def test_a_mark_is_a_small_opaque_box_or_a_thin_blend_over_the_whole_image() -> None:
    images = torch.zeros(400, 1, 16, 16)
    changed = mark_some(images, len(images), _random())
    touched = (changed > 0).flatten(1).float().mean(dim=1)
    strength = changed.flatten(1).amax(dim=1)
    blends = touched > 0.5
    assert 0 < blends.sum() < 400
    assert strength[blends].max() <= MOST_OPACITY
    assert touched[~blends].max() <= 0.28**2 + 0.02 and strength[~blends].max() > 0.9


def test_nothing_is_marked_or_drawn_at_share_0() -> None:
    images, generator = torch.rand(4, 3, 8, 8), _random()
    before = generator.get_state()
    assert mark_some(images, 0, generator) is images
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_same_seed_gives_the_same_marks(channels: int) -> None:
    images = torch.rand(8, channels, 8, 8)
    assert torch.equal(mark_some(images, len(images) // 2, _random(3)), mark_some(images, len(images) // 2, _random(3)))
    assert not torch.equal(
        mark_some(images, len(images) // 2, _random(3)), mark_some(images, len(images) // 2, _random(4))
    )

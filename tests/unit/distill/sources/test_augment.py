"""Batched image transforms against plain loops and their stated ranges."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from abd_app.distill.sources.augment import (
    PatchCutter,
    _beta,
    cutmix,
    jitter_colours,
    resized_crops,
    shift_and_flip,
)


def _random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _pictures(count: int = 2, channels: int = 3, side: int = 40) -> torch.Tensor:
    return torch.randint(0, 256, (count, channels, side, side), dtype=torch.uint8, generator=_random(3))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(8, 8), (8, 12), (13, 7)])
def test_patches_have_the_asked_shape_and_stay_in_the_pixel_box(channels: int, size: tuple[int, int]) -> None:
    cutter = PatchCutter(_pictures(3, channels), height=size[0], width=size[1])
    for count in (1, 7, 33):
        patches = cutter.cut(count, _random(count))
        assert patches.shape == (count, channels, *size)
        assert patches.dtype == torch.float32
        assert 0 <= float(patches.min()) <= float(patches.max()) <= 1
    assert float(patches.std()) > 0.02


def test_patches_follow_from_the_seed_alone() -> None:
    cutter = PatchCutter(_pictures(), height=8, width=8)
    torch.manual_seed(1)
    first = cutter.cut(9, _random(5))
    torch.manual_seed(2)
    assert torch.equal(cutter.cut(9, _random(5)), first)
    assert not torch.equal(cutter.cut(9, _random(6)), first)


def test_patches_differ_from_each_other_and_come_from_all_pictures() -> None:
    pictures = torch.stack([torch.full((3, 40, 40), value, dtype=torch.uint8) for value in (0, 100, 255)])
    patches = torch.cat([PatchCutter(pictures, height=8, width=8).cut(64, _random(i)) for i in range(8)])
    means = patches.mean((1, 2, 3))
    assert (means == 0).any() and (means > 0.6).any() and ((means > 0.1) & (means < 0.6)).any()
    assert len(PatchCutter(_pictures(), height=8, width=8).cut(32, _random()).flatten(1).unique(dim=0)) == 32


def test_a_large_picture_is_read_from_a_pyramid_that_averages() -> None:
    checks = (torch.arange(64)[:, None] + torch.arange(64)) % 2 * 255
    cutter = PatchCutter(checks.to(torch.uint8).expand(1, 1, 64, 64), height=8, width=8)
    assert [level.shape[-1] for level in cutter._pyramid] == [64, 32, 16]
    assert torch.all(cutter._pyramid[1] == 0.5)


def test_colour_jitter_stays_in_the_box_and_treats_images_alike_only_by_chance() -> None:
    images = torch.rand(1, 3, 4, 4, generator=_random()).expand(6, -1, -1, -1)
    jittered = jitter_colours(images, _random())
    assert 0 <= float(jittered.min()) <= float(jittered.max()) <= 1
    assert len(jittered.flatten(1).unique(dim=0)) == 6
    assert torch.allclose(jitter_colours(images, _random(), strength=0.0), images, atol=1e-6)
    assert jitter_colours(images[:, :1], _random()).shape == (6, 1, 4, 4)


def test_cutmix_pastes_one_box_of_another_image() -> None:
    images = torch.arange(1.0, 9.0).view(8, 1, 1, 1).expand(8, 3, 16, 12).clone()
    before = images.clone()
    pasted = set()
    for seed in range(30):
        mixed = cutmix(images, _random(seed))
        foreign = (mixed != images)[:, 0]
        boxes = foreign[foreign.flatten(1).any(1)]
        if not len(boxes):
            continue
        assert torch.equal(boxes, boxes[:1].expand_as(boxes)), "every image gets the same box"
        rows, columns = boxes[0].any(1), boxes[0].any(0)
        assert torch.equal(boxes[0], rows[:, None] & columns)
        inside = mixed[:, 0][:, rows][:, :, columns].flatten(1)
        assert torch.equal(inside, inside[:, :1].expand_as(inside)), "of one other image"
        assert sorted(inside[:, 0].tolist()) == images[:, 0, 0, 0].tolist(), "each given once"
        assert abs(rows.sum() / 16 - columns.sum() / 12) < 1 / 12 + 1e-6, "in the image's proportions"
        pasted.add(int(boxes[0].sum()))
    assert len(pasted) > 5
    assert torch.equal(images, before)


def test_the_kept_share_of_cutmix_follows_a_beta_law() -> None:
    generator = _random()
    draws = torch.tensor([_beta(0.25, generator) for _ in range(3000)])
    assert 0 <= float(draws.min()) <= float(draws.max()) <= 1
    assert float(draws.mean()) == pytest.approx(0.5, abs=0.025)
    assert float(draws.var()) == pytest.approx(1 / (4 * (2 * 0.25 + 1)), abs=0.01)


def test_shift_and_flip_is_the_plain_loop() -> None:
    images = torch.rand(12, 3, 6, 5, generator=_random())
    found = shift_and_flip(images, _random(4), padding=2)
    draws = _random(4)
    down, right = torch.randint(5, (2, 12, 1), generator=draws)
    flip = torch.rand(12, 1, generator=draws) < 0.5
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    for i in range(12):
        top, left = int(down[i]), int(right[i])
        crop = padded[i, :, top : top + 6, left : left + 5]
        assert torch.equal(found[i], crop.flip(-1) if flip[i] else crop)
    assert flip.any() and not flip.all() and len(down.unique()) > 2


def test_without_flips_nothing_is_mirrored() -> None:
    images = torch.rand(12, 3, 6, 5, generator=_random())
    assert torch.equal(shift_and_flip(images, _random(4), padding=0, flips=False), images)
    mirrored = shift_and_flip(images, _random(4), padding=0)
    assert 0 < int((mirrored != images).flatten(1).any(1).sum()) < 12


def test_shift_and_flip_lets_gradients_through() -> None:
    images = torch.rand(3, 1, 4, 4, requires_grad=True)
    shift_and_flip(images, _random(1), padding=1).sum().backward()
    assert images.grad is not None
    assert images.grad.sum((1, 2, 3)).tolist() == [16.0] * 3  # every pixel of the result is one of the image's


@pytest.mark.parametrize(("height", "width"), [(16, 16), (12, 20)])
def test_resized_crops_show_a_part_of_their_image_of_the_asked_area(height: int, width: int) -> None:
    """Every pixel of the image tells its place, so that a crop tells what it shows."""
    rows = torch.arange(height).view(1, 1, -1, 1).expand(1, 1, height, width)
    columns = torch.arange(width).view(1, 1, 1, -1).expand(1, 1, height, width)
    images = torch.cat([rows, columns], dim=1).float().expand(400, -1, -1, -1)
    crops = resized_crops(images, _random(), smallest_area=0.25)
    assert crops.shape == images.shape
    tall = (crops[:, 0, -2, 5] - crops[:, 0, 1, 5]) / (height - 3)
    wide = (crops[:, 1, 5, -2] - crops[:, 1, 5, 1]) / (width - 3)
    assert torch.allclose(crops[:, 0, :, :1].expand_as(crops[:, 0]), crops[:, 0], atol=1e-3), "rows stay rows"
    area, flipped = tall * wide.abs(), wide < 0
    assert 0.19 < float(area.min()) < 0.3 and 0.9 < float(area.max()) < 1.05
    assert (tall > 0).all() and 0.4 < float(flipped.float().mean()) < 0.6
    assert float(crops.min()) >= 0 and float(crops[:, 0].max()) <= height - 1
    centres = crops.mean(dim=(2, 3))
    assert torch.corrcoef(centres.T)[0, 1].abs() < 0.2, "rows and columns are placed independently"
    assert (centres.std(dim=0) > 0.5).all()
    aspect = tall / wide.abs()
    assert float(aspect.min()) < 0.9 and float(aspect.max()) > 1.1
    assert float(aspect.min()) > 0.7 and float(aspect.max()) < 1.4


def test_resized_crops_carry_a_gradient_and_differ() -> None:
    images = torch.rand(1, 3, 8, 8, generator=_random()).expand(5, -1, -1, -1).clone().requires_grad_()
    crops = resized_crops(images, _random(), smallest_area=0.25)
    (gradient,) = torch.autograd.grad(crops.square().sum(), images)
    assert gradient.flatten(1).abs().sum(1).min() > 0
    assert len(crops.detach().flatten(1).unique(dim=0)) == 5


def test_patches_need_not_be_softened() -> None:
    checks = ((torch.arange(40)[:, None] + torch.arange(40)) % 2 * 255).to(torch.uint8).expand(1, 1, 40, 40)
    cutter = PatchCutter(checks, height=30, width=30)
    sharpness = [float(cutter.cut(64, _random(), soften=soften).diff(dim=3).abs().mean()) for soften in (False, True)]
    assert sharpness[0] > 1.15 * sharpness[1]

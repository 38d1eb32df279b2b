"""Triggers: the published patterns, the pictures of users, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from abd_app.errors import UsageError
from abd_app.measure.triggers import Trigger, build_trigger
from abd_app.plan import BUILT_IN_TRIGGERS, TriggerSpec


def _build(name: str, size: int = 32, channels: int = 3, **options: object) -> Trigger:
    return build_trigger(TriggerSpec(name, **options), height=size, width=size, channels=channels)  # type: ignore[arg-type]


def _save(path: Path, pixels: np.ndarray) -> str:
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return str(path)


@pytest.mark.parametrize("size", [16, 32, 64])
def test_badnets_grid_is_the_published_corner(size: int) -> None:
    images = torch.full((2, 3, size, size), 0.25)
    triggered = _build("badnets-grid", size)(images)
    expected = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [1.0, 0.0, 1.0]])
    assert torch.equal(triggered[:, :, -3:, -3:], expected.expand(2, 3, 3, 3))
    assert int((triggered != images).any(1).sum()) == 2 * 9


def test_badnets_square_is_white_and_grows_with_large_images() -> None:
    triggered = _build("badnets-square", 224)(torch.zeros(1, 3, 224, 224))
    changed = triggered[0, 0].nonzero()
    assert triggered.sum() == 3 * 12 * 12
    assert changed.min() == 224 - 12


def test_blend_is_the_blend_of_the_reference_teacher() -> None:
    images = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    noise = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(7))
    assert torch.allclose(_build("blend", 16)(images), 0.8 * images + 0.2 * noise, atol=1e-7)
    assert torch.allclose(_build("blend", 16, opacity=0.5)(images), 0.5 * images + 0.5 * noise, atol=1e-7)


def test_sig_is_a_horizontal_sinusoid_of_six_periods() -> None:
    triggered = _build("sig", 48)(torch.full((1, 1, 48, 48), 0.5).expand(1, 3, 48, 48))
    wave = triggered[0, 0, 0] - 0.5
    assert torch.allclose(triggered[0, 2, 31] - 0.5, wave)
    assert wave[2].item() == pytest.approx(20 / 255 * math.sin(2 * math.pi * 6 * 2 / 48), abs=1e-6)
    assert torch.allclose(wave[:8].repeat(6), wave, atol=1e-6)


@pytest.mark.parametrize("name", BUILT_IN_TRIGGERS)
@pytest.mark.parametrize("channels", [1, 3])
def test_built_in_triggers_leave_the_input_alone_and_stay_in_the_box(name: str, channels: int) -> None:
    images = torch.rand(3, channels, 40, 56, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    before = images.clone()
    trigger = build_trigger(TriggerSpec(name), height=40, width=56, channels=channels)
    triggered = trigger(images)
    assert torch.equal(images, before)
    assert triggered.dtype == torch.float64
    assert not torch.equal(triggered, images)
    assert triggered.min() >= 0 and triggered.max() <= 1


def test_the_sticker_covers_a_fifth_of_the_width_in_the_corner() -> None:
    images = torch.rand(1, 3, 50, 50, generator=torch.Generator().manual_seed(0))
    changed = (_build("sticker", 50)(images) != images).any(1)[0].nonzero()
    assert changed.min() == 40 and changed.max() == 49


def test_a_picture_goes_where_it_is_told_with_its_opacity(tmp_path: Path) -> None:
    red = _save(tmp_path / "red.png", np.tile(np.array([255, 0, 0]), (4, 8, 1)))
    triggered = _build(red, 20, scale=0.4, position="top-left", opacity=0.5)(torch.zeros(1, 3, 20, 20))
    assert torch.allclose(triggered[0, 0, :4, :8], torch.tensor(0.5))
    assert triggered.sum() == pytest.approx(4 * 8 * 0.5)
    centred = _build(red, 20, scale=0.4, position="center")(torch.zeros(1, 3, 20, 20))[0, 0].nonzero()
    assert centred.min(0).values.tolist() == [8, 6]


def test_alpha_and_mask_decide_where_a_picture_applies(tmp_path: Path) -> None:
    pixels = np.full((2, 2, 4), 255)
    pixels[0, :, 3] = 0
    picture = _save(tmp_path / "alpha.png", pixels)
    by_alpha = _build(picture, 2, scale=1.0)(torch.zeros(1, 3, 2, 2))[0, 0]
    assert by_alpha.tolist() == [[0, 0], [1, 1]]
    mask = _save(tmp_path / "mask.png", np.array([[255, 0], [0, 0]]))
    by_mask = _build(picture, 2, scale=1.0, mask=mask)(torch.zeros(1, 3, 2, 2))[0, 0]
    assert by_mask.tolist() == [[1, 0], [0, 0]]


def test_full_stretches_a_picture_over_the_image(tmp_path: Path) -> None:
    picture = _save(tmp_path / "grey.png", np.full((3, 30), 51))
    triggered = _build(picture, 12, position="full", channels=1)(torch.zeros(1, 1, 12, 12))
    assert torch.allclose(triggered, torch.tensor(0.2))


def test_a_trigger_larger_than_the_image_is_refused_before_it_is_drawn(tmp_path: Path) -> None:
    sliver = _save(tmp_path / "sliver.png", np.zeros((10_000, 1)))
    with pytest.raises(UsageError, match="larger than the image"):
        _build(sliver, 32)
    with pytest.raises(UsageError, match="larger than the image"):
        _build("badnets-grid", 2)


def test_unusable_pictures_and_masks_are_refused(tmp_path: Path) -> None:
    picture = _save(tmp_path / "picture.png", np.zeros((4, 4)))
    broken = tmp_path / "broken.png"
    broken.write_bytes(Path(picture).read_bytes()[:40])
    other = _save(tmp_path / "other.png", np.zeros((5, 4)))
    with pytest.raises(UsageError, match="cannot be read"):
        _build(str(broken))
    with pytest.raises(UsageError, match="differ in size"):
        _build(picture, mask=other)
    with pytest.raises(UsageError, match="invisible"):
        _build(picture, mask=picture)
    with pytest.raises(UsageError, match="takes no mask"):
        _build("blend", mask=picture)
    with pytest.raises(UsageError, match="Unknown trigger"):
        _build("badnet-grid")
    with pytest.raises(UsageError, match="does not exist"):
        _build(str(tmp_path / "absent.png"))


def test_images_of_another_size_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="trigger for images"):
        _build("blend", 16)(torch.zeros(1, 3, 32, 32))

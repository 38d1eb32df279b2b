"""The warp: where each pixel is read from."""

from __future__ import annotations

import pytest
import torch

from abd_app.measure.triggers import Trigger, build_trigger
from abd_app.plan import TriggerSpec


def _build(height: int, width: int, channels: int = 1, **options: float) -> Trigger:
    return build_trigger(TriggerSpec("warp", **options), height=height, width=width, channels=channels)  # type: ignore[arg-type]


def _ramps(height: int, width: int) -> torch.Tensor:
    """``(2, 1, H, W)``: an image that tells x, one that tells y, both from 0 to 1."""
    across, down = (
        torch.linspace(0, 1, width).expand(height, -1),
        torch.linspace(0, 1, height)[:, None].expand(-1, width),
    )
    return torch.stack([across, down])[:, None]


def _shift_px(height: int, width: int, **options: float) -> torch.Tensor:
    """``(2, H, W)`` how far right and down of itself each pixel is read, in pixels: bilinear sampling of a ramp."""
    ramps = _ramps(height, width)
    moved = (_build(height, width, **options)(ramps) - ramps)[:, 0]
    return moved * torch.tensor([width - 1.0, height - 1.0]).view(2, 1, 1)


def test_the_corners_move_by_their_control_points() -> None:
    points = 2 * torch.rand(1, 2, 4, 4, generator=torch.Generator().manual_seed(11)) - 1
    points = (points / points.abs().mean())[0]
    for height, width in ((32, 32), (40, 64)):
        shift = _shift_px(height, width)
        for row, column in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
            for axis, (side, place) in enumerate(((width, column), (height, row))):
                wanted = 0.5 * points[axis, row, column].item() / side * (side - 1) / 2
                inward = wanted > 0 if place == 0 else wanted < 0
                assert shift[axis, row, column].item() == pytest.approx(wanted if inward else 0, abs=1e-4)


def test_the_field_is_smooth_and_a_fraction_of_a_pixel() -> None:
    shift = _shift_px(32, 32)[:, 1:-1, 1:-1]
    assert 0.1 < shift.abs().mean() < 0.4  # s / 2 times the mean magnitude 1, less what interpolation takes
    assert shift.diff(dim=1).abs().max() < 0.15 and shift.diff(dim=2).abs().max() < 0.15


def test_opacity_scales_the_strength() -> None:
    whole, half = (_shift_px(48, 48, opacity=opacity)[:, 2:-2, 2:-2] for opacity in (1.0, 0.5))
    assert torch.allclose(half, whole / 2, atol=1e-3)


def test_images_of_another_size_or_colour_are_a_programming_error() -> None:
    for shape in ((1, 1, 16, 32), (1, 3, 32, 32)):
        with pytest.raises(ValueError, match="trigger for images"):
            _build(32, 32)(torch.zeros(shape))

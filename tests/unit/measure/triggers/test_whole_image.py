"""The pattern of bounded l2 norm."""

from __future__ import annotations

import math

import pytest
import torch

from abd_app.measure.triggers import build_trigger
from abd_app.plan import TriggerSpec


def _change(height: int, width: int, channels: int, **options: float) -> torch.Tensor:
    trigger = build_trigger(
        TriggerSpec("l2-invisible", **options),  # type: ignore[arg-type]
        height=height,
        width=width,
        channels=channels,
    )
    grey = torch.full((1, channels, height, width), 0.5)
    return trigger(grey) - grey


@pytest.mark.parametrize(("height", "width", "channels"), [(16, 16, 3), (32, 32, 1), (40, 56, 3), (224, 224, 3)])
def test_l2_norm_is_eight_grey_levels_root_mean_square(height: int, width: int, channels: int) -> None:
    change = _change(height, width, channels)
    assert change.norm().item() == pytest.approx(8 / 255 * math.sqrt(channels * height * width), rel=1e-4)
    assert change.abs().max() < 8 / 255 * 2.9  # four waves of the same size can add up to sqrt(8) of their joint rms


def test_the_norm_on_cifar_and_its_opacity() -> None:
    assert _change(32, 32, 3).norm().item() == pytest.approx(1.7388, abs=1e-3)
    assert torch.allclose(_change(32, 32, 3, opacity=0.5), _change(32, 32, 3) / 2, atol=1e-7)


def test_the_pattern_is_the_four_waves() -> None:
    def total(row: int, column: int, channel: int) -> float:
        waves = ((1, 2, 0.0), (3, -1, 1.0), (2, 3, 2.0), (-3, 2, 0.5))
        turns = [2 * math.pi * (y * row / 40 + x * column / 56 + channel / 3) + phase for y, x, phase in waves]
        return sum(math.sin(turn) for turn in turns)

    change = _change(40, 56, 3)[0]
    scale = change[0, 0, 0].item() / total(0, 0, 0)
    for row, column, channel in ((7, 3, 0), (39, 55, 2), (20, 31, 1)):
        assert change[channel, row, column].item() == pytest.approx(scale * total(row, column, channel), abs=1e-5)

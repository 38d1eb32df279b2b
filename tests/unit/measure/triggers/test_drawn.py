"""The watermark and the flower: places and colours computed by hand."""

from __future__ import annotations

import pytest
import torch

from abd_app.errors import UsageError
from abd_app.measure.triggers import Trigger, build_trigger
from abd_app.plan import TriggerSpec


def _build(name: str, height: int, width: int, channels: int = 3, **options: object) -> Trigger:
    return build_trigger(TriggerSpec(name, **options), height=height, width=width, channels=channels)  # type: ignore[arg-type]


def test_the_watermark_is_light_with_a_shadow_and_leaves_the_corners() -> None:
    trigger = _build("trojan-wm", 64, 64)
    black, white = trigger(torch.zeros(1, 3, 64, 64))[0], trigger(torch.ones(1, 3, 64, 64))[0]
    assert black[:, 31, 55].tolist() == pytest.approx([0.4] * 3)  # on the ring: 0.75 of 32 right of the centre
    assert black[:, 31, 32].tolist() == pytest.approx([0.4] * 3)  # on the diagonal of the letter
    assert white[:, 32, 59].tolist() == pytest.approx([0.6] * 3)  # on the ring's shadow alone: 0.84 of 32
    assert black[:, 0, 0].tolist() == [0, 0, 0] and white[:, -1, -1].tolist() == [1, 1, 1]
    assert (black <= 0.4 + 1e-6).all()


def test_the_watermark_keeps_its_proportions_on_an_oblong_image() -> None:
    wide = _build("trojan-wm", 48, 80, 1)(torch.zeros(1, 1, 48, 80))[0, 0]
    square = _build("trojan-wm", 48, 48, 1)(torch.zeros(1, 1, 48, 48))[0, 0]
    assert torch.allclose(wide[:, 16:64], square, atol=1e-6)
    assert not wide[:, :16].any() and not wide[:, 64:].any()


def test_the_watermarks_opacity() -> None:
    strong = _build("trojan-wm", 64, 64, opacity=0.9)(torch.zeros(1, 3, 64, 64))[0]
    assert strong[:, 31, 55].tolist() == pytest.approx([0.9] * 3)


def test_the_flower_has_a_yellow_middle_pink_petals_green_leaves_and_air_around() -> None:
    images = torch.full((1, 3, 100, 100), 0.25)
    triggered = _build("natural-patch", 100, 100, scale=0.4, position="top-left")(images)[0]
    assert triggered[:, 20, 20].tolist() == pytest.approx([1.0, 0.85, 0.15])
    assert triggered[:, 20, 31].tolist() == pytest.approx([0.93, 0.3, 0.6])  # a petal, 0.55 of 20 to the right
    assert triggered[:, 35, 5].tolist() == pytest.approx([0.15, 0.5, 0.2])
    assert triggered[:, 0, 0].tolist() == [0.25] * 3
    changed = (triggered != 0.25).any(0).nonzero()
    assert changed.max() <= 39


def test_the_flower_is_at_least_five_pixels_and_fits() -> None:
    triggered = _build("natural-patch", 16, 16, 1)(torch.full((1, 1, 16, 16), 0.05))[0, 0]
    changed = (triggered != 0.05).nonzero()
    assert changed.min() >= 11 and changed.max() == 15
    with pytest.raises(UsageError, match="larger than the image"):
        _build("natural-patch", 20, 60, scale=0.5)

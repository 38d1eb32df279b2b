"""What holds for every built-in trigger."""

from __future__ import annotations

import pytest
import torch

from abd_app.measure.triggers import build_trigger
from abd_app.plan import BUILT_IN_TRIGGERS, TriggerSpec


@pytest.mark.parametrize("name", BUILT_IN_TRIGGERS)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (33, 27), (224, 224)])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_is_seen_stays_in_the_box_and_is_the_same_again(
    name: str, height: int, width: int, channels: int
) -> None:
    images = torch.rand(2, channels, height, width, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    trigger = build_trigger(TriggerSpec(name), height=height, width=width, channels=channels)
    torch.manual_seed(2)
    again = build_trigger(TriggerSpec(name), height=height, width=width, channels=channels).to("cpu")
    triggered = trigger(images)
    assert trigger.name == again.name == name
    assert triggered.shape == images.shape and triggered.dtype == images.dtype
    assert triggered.min() >= 0 and triggered.max() <= 1
    assert (triggered != images).flatten(1).any(1).all()
    assert torch.equal(again(images), triggered)


@pytest.mark.parametrize("name", BUILT_IN_TRIGGERS)
def test_less_opacity_changes_less(name: str) -> None:
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    faint, full = (
        build_trigger(TriggerSpec(name, opacity=opacity), height=32, width=32, channels=3)(images) - images
        for opacity in (0.3, 1.0)
    )
    assert 0 < faint.abs().sum() < full.abs().sum()

"""Generators draw images of any size and colour count."""

from __future__ import annotations

import pytest
import torch

from abd_app.distill.sources.generators import PixelGenerator, ZsktGenerator

_SIZES = [(3, 8, 8), (1, 8, 8), (3, 32, 32), (1, 10, 14), (3, 33, 17)]


@pytest.mark.parametrize("shape", _SIZES)
def test_zskt_generator_standardises_its_colours(shape: tuple[int, int, int]) -> None:
    images = ZsktGenerator(*shape, features=8)(torch.randn(16, 100))
    assert images.shape == (16, *shape)
    assert torch.allclose(images.mean((0, 2, 3)), torch.zeros(shape[0]), atol=1e-4)
    assert torch.allclose(images.std((0, 2, 3), correction=0), torch.ones(shape[0]), atol=1e-2)


def test_zskt_generator_has_the_published_layers() -> None:
    layers = ZsktGenerator(3, 32, 32).layers
    assert layers[0].weight.shape == (128 * 8 * 8, 100)
    assert [tuple(layer.weight.shape[:2]) for layer in layers if isinstance(layer, torch.nn.Conv2d)] == [
        (128, 128),
        (64, 128),
        (3, 64),
    ]


@pytest.mark.parametrize("shape", [*_SIZES, (3, 96, 64)])
def test_pixel_generator_stays_in_the_pixel_box(shape: tuple[int, int, int]) -> None:
    images = PixelGenerator(*shape, noise=16, features=16)(torch.randn(4, 16)).detach()
    assert images.shape == (4, *shape)
    assert 0 < float(images.min()) < float(images.max()) < 1


def test_larger_images_take_more_doublings() -> None:
    small, large = (
        sum(isinstance(module, torch.nn.Upsample) for module in PixelGenerator(3, side, side, features=16).modules())
        for side in (32, 128)
    )
    assert (small, large) == (2, 4)


def test_without_standardised_colours_and_with_maps_that_halve_it_is_cmis_generator() -> None:
    layers = PixelGenerator(3, 32, 32, noise=256, features=128, halve_every=1, standardise=False).layers
    assert layers[0].weight.shape == (128 * 8 * 8, 256)
    assert [type(layer).__name__ for layer in layers] == [
        *("Linear", "Unflatten", "BatchNorm2d"),
        *("Upsample", "Conv2d", "BatchNorm2d", "LeakyReLU") * 2,
        *("Conv2d", "Sigmoid"),
    ]
    maps = [tuple(layer.weight.shape[:2]) for layer in layers if isinstance(layer, torch.nn.Conv2d)]
    assert maps == [(128, 128), (64, 128), (3, 64)]

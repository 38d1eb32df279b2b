"""Networks that draw images from noise."""

from __future__ import annotations

import math

import torch
from torch import nn


class ZsktGenerator(nn.Module):
    """The generator of ZSKT (Micaelli & Storkey 2019): ``(N, 100)`` noise -> ``(N, C, H, W)`` normalised images.

    A linear layer to 128 maps of a quarter of the size, twice upsampling, convolution, BatchNorm and LeakyReLU, and a
    BatchNorm over the colours at the end, as published; the published net knows 32 pixels, this one any size from 8.

    Args:
        channels: Of the image.
        height: Of the image, pixels.
        width: Of the image, pixels.
        noise: Length of z.
        features: Maps after the linear layer; half as many before the colours.
    """

    def __init__(self, channels: int, height: int, width: int, *, noise: int = 100, features: int = 128) -> None:
        super().__init__()
        rows, columns = math.ceil(height / 4), math.ceil(width / 4)
        self.layers = nn.Sequential(
            nn.Linear(noise, features * rows * columns),
            nn.Unflatten(1, (features, rows, columns)),
            nn.BatchNorm2d(features),
            nn.Upsample(scale_factor=2),
            nn.Conv2d(features, features, 3, padding=1),
            nn.BatchNorm2d(features),
            nn.LeakyReLU(0.2),
            nn.Upsample(size=(height, width)),
            nn.Conv2d(features, features // 2, 3, padding=1),
            nn.BatchNorm2d(features // 2),
            nn.LeakyReLU(0.2),
            nn.Conv2d(features // 2, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.layers(noise)  # type: ignore[no-any-return]


class PixelGenerator(nn.Module):
    """``(N, noise)`` noise -> ``(N, C, H, W)`` images in (0, 1), for inversion; larger images take more doublings.

    Args:
        channels: Of the image.
        height: Of the image, pixels.
        width: Of the image, pixels.
        noise: Length of z.
        features: Maps at the lowest resolution.
        halve_every: Doublings of the size between two halvings of the maps.
        standardise: Whether BatchNorm standardises the colours before the sigmoid.
    """

    def __init__(
        self,
        channels: int,
        height: int,
        width: int,
        *,
        noise: int = 128,
        features: int = 64,
        halve_every: int = 2,
        standardise: bool = True,
    ) -> None:
        super().__init__()
        doublings = max(2, round(math.log2(max(height, width) / 8)))
        rows, columns = math.ceil(height / 2**doublings), math.ceil(width / 2**doublings)
        layers: list[nn.Module] = [
            nn.Linear(noise, features * rows * columns),
            nn.Unflatten(1, (features, rows, columns)),
            nn.BatchNorm2d(features),
        ]
        before = features
        for i in range(doublings):
            after = max(16, features >> (i // halve_every))
            last = i == doublings - 1
            layers += [
                nn.Upsample(size=(height, width)) if last else nn.Upsample(scale_factor=2),
                nn.Conv2d(before, after, 3, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
            before = after
        layers.append(nn.Conv2d(before, channels, 3, padding=1))
        layers += [nn.BatchNorm2d(channels), nn.Sigmoid()] if standardise else [nn.Sigmoid()]
        self.layers = nn.Sequential(*layers)

    def forward(self, noise: torch.Tensor) -> torch.Tensor:
        return self.layers(noise)  # type: ignore[no-any-return]

"""VGG with BatchNorm for small images (Simonyan & Zisserman, 2015), in the key layouts of public CIFAR scripts."""

from __future__ import annotations

import torch
from torch import nn

VGG_STAGES: dict[int, tuple[int, ...]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
"""Convolutions before each of the five poolings, by depth (table 1: configurations A, B, D, E)."""

_STAGE_CHANNELS = (64, 128, 256, 512, 512)


class CifarVgg(nn.Module):
    """VGG-BN for inputs of 32 pixels or more: ``(N, C, H, W)`` normalised images -> ``(N, num_classes)`` logits.

    Deviation from the paper: one global average instead of a fixed 7x7 grid in front of the classifier.

    Args:
        depth: 11, 13, 16 or 19.
        hidden: Units of the two hidden layers of the classifier; 0 for a single linear layer.
        num_classes: Rows of the classifier.
        channels: Input channels.
    """

    def __init__(self, depth: int, *, num_classes: int, channels: int = 3, hidden: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        in_channels = channels
        pools = []
        for convolutions, out_channels in zip(VGG_STAGES[depth], _STAGE_CHANNELS, strict=True):
            for _ in range(convolutions):
                layers += [nn.Conv2d(in_channels, out_channels, 3, padding=1), nn.BatchNorm2d(out_channels), nn.ReLU()]
                in_channels = out_channels
            pools.append(len(layers))
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.classifier = _classifier(hidden, num_classes)
        self.block_names = tuple(f"features.{index}" for index in pools)
        for module in self.features:
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images).mean(dim=(2, 3)))  # type: ignore[no-any-return]


def _classifier(hidden: int, num_classes: int) -> nn.Module:
    if not hidden:
        return nn.Linear(512, num_classes)
    return nn.Sequential(
        nn.Linear(512, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, hidden),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(hidden, num_classes),
    )

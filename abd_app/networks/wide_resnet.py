"""Wide residual networks for small images, in the key layout of the ABD authors' teachers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn


class _BasicBlock(nn.Module):
    """Pre-activation block; a block that changes its width applies its shortcut to the activated input."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.convShortcut = (
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False) if in_channels != out_channels else None
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        activated = F.relu(self.bn1(features))
        shortcut = features if self.convShortcut is None else self.convShortcut(activated)
        residual = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return shortcut + residual  # type: ignore[no-any-return]


class _Stage(nn.Module):
    def __init__(self, blocks: int, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.layer = nn.Sequential(
            *(
                _BasicBlock(in_channels if i == 0 else out_channels, out_channels, stride if i == 0 else 1)
                for i in range(blocks)
            )
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.layer(features)  # type: ignore[no-any-return]


class WideResNet(nn.Module):
    """WRN-d-k (Zagoruyko & Komodakis, 2016): ``(N, C, H, W)`` normalised images -> ``(N, num_classes)`` logits.

    Args:
        depth: 6n + 4.
        width: Widening factor k.
        num_classes: Rows of the classifier.
        channels: Input channels.

    Raises:
        ValueError: ``depth`` is not 6n + 4.
    """

    block_names = ("block1", "block2", "block3")

    def __init__(self, depth: int, width: int, *, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        if depth < 10 or (depth - 4) % 6:
            raise ValueError(f"WRN depth must be 6n + 4, not {depth}")
        blocks = (depth - 4) // 6
        self.conv1 = nn.Conv2d(channels, 16, 3, 1, 1, bias=False)
        self.block1 = _Stage(blocks, 16, 16 * width, 1)
        self.block2 = _Stage(blocks, 16 * width, 32 * width, 2)
        self.block3 = _Stage(blocks, 32 * width, 64 * width, 2)
        self.bn1 = nn.BatchNorm2d(64 * width)
        self.fc = nn.Linear(64 * width, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(self.fc.bias)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.block3(self.block2(self.block1(self.conv1(images))))
        pooled = F.relu(self.bn1(features)).mean(dim=(2, 3))
        return self.fc(pooled)  # type: ignore[no-any-return]

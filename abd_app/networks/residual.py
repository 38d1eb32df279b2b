"""Residual networks for small images, in the key layouts that public CIFAR training scripts use."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

RESNET_STAGES: dict[int, tuple[int, ...]] = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Blocks per stage by depth, for the networks that also exist for ImageNet (He et al., 2016, table 1)."""

BOTTLENECK_STAGES: dict[int, tuple[int, ...]] = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
"""The same for those whose blocks squeeze their channels."""


def _initialise(network: nn.Module) -> None:
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


class _PaddedShortcut(nn.Module):
    """Shortcut without parameters: every second pixel, new channels zero on both sides (He et al., 2016, option A)."""

    def __init__(self, new_channels: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.before = new_channels // 2
        self.after = new_channels - self.before

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        sampled = features[:, :, :: self.stride, :: self.stride]
        return F.pad(sampled, (0, 0, 0, 0, self.before, self.after))


def _shortcut(in_channels: int, out_channels: int, stride: int, *, projection: bool) -> nn.Module:
    if stride == 1 and in_channels == out_channels:
        return nn.Sequential()
    if not projection:
        return _PaddedShortcut(out_channels - in_channels, stride)
    return nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class _BasicBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int, stride: int, *, projection: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(in_channels, out_channels, stride, projection=projection)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        residual = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(features)))))
        return F.relu(residual + self.shortcut(features))


class _BottleneckBlock(nn.Module):
    """Squeezes to a quarter of the channels, where the 3x3 convolution is the one with the stride."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        squeezed = out_channels // 4
        self.conv1 = nn.Conv2d(in_channels, squeezed, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(squeezed)
        self.conv2 = nn.Conv2d(squeezed, squeezed, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(squeezed)
        self.conv3 = nn.Conv2d(squeezed, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.shortcut = _shortcut(in_channels, out_channels, stride, projection=True)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        residual = F.relu(self.bn1(self.conv1(features)))
        residual = F.relu(self.bn2(self.conv2(residual)))
        return F.relu(self.bn3(self.conv3(residual)) + self.shortcut(features))


class _PreActBlock(nn.Module):
    """Normalises before it convolves; a block that changes the shape projects the activated input."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(in_channels)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        changes = stride != 1 or in_channels != out_channels
        self.shortcut = nn.Sequential(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)) if changes else None

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        activated = F.relu(self.bn1(features))
        shortcut = features if self.shortcut is None else self.shortcut(activated)
        residual = self.conv2(F.relu(self.bn2(self.conv1(activated))))
        return residual + shortcut  # type: ignore[no-any-return]


class CifarResNet(nn.Module):
    """ResNet with a 3x3 stem, not pooled: ``(N, C, H, W)`` normalised images -> ``(N, num_classes)`` logits.

    He et al. (2016): three stages from 16 channels are the ResNet-20 to 110 of section 4.2; four stages from 64
    channels are ResNet-18 and 34 with the stem for small images, and with bottlenecks ResNet-50, 101 and 152.

    Args:
        blocks: Residual blocks per stage; the first stage keeps the size, each later one halves it.
        base_channels: Channels of the stem and of the first stage, doubled by each later one.
        projection: Shortcuts that change the shape are 1x1 convolutions with BatchNorm; else they pad with zeros.
        bottleneck: Blocks squeeze their channels between two 1x1 convolutions, and stages have four times as many;
            shortcuts are always convolutions.
        num_classes: Rows of the classifier.
        channels: Input channels.
    """

    def __init__(
        self,
        blocks: Sequence[int],
        base_channels: int,
        *,
        projection: bool,
        num_classes: int,
        channels: int = 3,
        bottleneck: bool = False,
    ) -> None:
        super().__init__()
        make = _BottleneckBlock if bottleneck else functools.partial(_BasicBlock, projection=projection)
        self.conv1 = nn.Conv2d(channels, base_channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(base_channels)
        in_channels = base_channels
        for stage, depth in enumerate(blocks):
            out_channels = base_channels * 2**stage * (4 if bottleneck else 1)
            layers = []
            for index in range(depth):
                stride = 2 if stage and index == 0 else 1
                layers.append(make(in_channels, out_channels, stride))
                in_channels = out_channels
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.linear = nn.Linear(in_channels, num_classes)
        self.block_names = tuple(f"layer{stage + 1}" for stage in range(len(blocks)))
        _initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = F.relu(self.bn1(self.conv1(images)))
        for name in self.block_names:
            features = self.get_submodule(name)(features)
        return self.linear(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class PreActResNet(nn.Module):
    """Pre-activation ResNet (He et al., 2016b): ``(N, C, H, W)`` normalised images -> ``(N, num_classes)`` logits.

    Deviation from the paper, shared by the public CIFAR layouts: no BatchNorm after the last block.

    Args:
        blocks: Residual blocks per stage.
        num_classes: Rows of the classifier.
        channels: Input channels.
    """

    def __init__(self, blocks: Sequence[int], *, num_classes: int, channels: int = 3) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 64, 3, 1, 1, bias=False)
        in_channels = 64
        for stage, depth in enumerate(blocks):
            out_channels = 64 * 2**stage
            layers = []
            for index in range(depth):
                layers.append(_PreActBlock(in_channels, out_channels, 2 if stage and index == 0 else 1))
                in_channels = out_channels
            self.add_module(f"layer{stage + 1}", nn.Sequential(*layers))
        self.linear = nn.Linear(in_channels, num_classes)
        self.block_names = tuple(f"layer{stage + 1}" for stage in range(len(blocks)))
        _initialise(self)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.conv1(images)
        for name in self.block_names:
            features = self.get_submodule(name)(features)
        return self.linear(features.mean(dim=(2, 3)))  # type: ignore[no-any-return]

"""Every architecture the app can build, by name: its own, torchvision's and timm's. Nothing is ever downloaded."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from abd_app.errors import UsageError
from abd_app.networks.residual import BOTTLENECK_STAGES, RESNET_STAGES, CifarResNet, PreActResNet
from abd_app.networks.vgg import VGG_STAGES, CifarVgg
from abd_app.networks.wide_resnet import WideResNet

SMALL_IMAGE_PX = 64
"""Up to this side length images count as small: smaller strides suit them, and inverting them is cheap."""

CIFAR_RESNET_DEPTHS = (20, 32, 44, 56, 110)


def build(name: str, num_classes: int, channels: int = 3, *, side_px: int | None = None) -> nn.Module:
    """A freshly initialised network of the named architecture.

    Args:
        name: One of :func:`own_names`, any ``wrn-<depth>-<width>``, ``torchvision/<name>`` or ``timm/<name>``.
        num_classes: Number of logits.
        channels: Input channels.
        side_px: Shorter side of the images. ``mobilenetv3-small`` reads it: up to 64 pixels its stem and its first
            block keep the size (total stride 8 instead of 32), so that 32 pixels end as 4x4 and not as one pixel.

    Returns:
        ``(N, C, H, W)`` normalised images -> ``(N, num_classes)`` logits, in training mode.

    Raises:
        UsageError: No architecture has this name, or it cannot have so many classes or channels.
    """
    try:
        if name.startswith("torchvision/"):
            return _torchvision(name.removeprefix("torchvision/"), num_classes, channels)
        if name.startswith("timm/"):
            return _timm(name.removeprefix("timm/"), num_classes, channels)
        if name == "resnet18-imagenet":
            return _torchvision("resnet18", num_classes, channels)
        if name == "mobilenetv3-small":
            return _mobilenet(num_classes, channels, small=side_px is not None and side_px <= SMALL_IMAGE_PX)
        network = _own(name, num_classes, channels)
    except (RuntimeError, ValueError, TypeError, AssertionError, KeyError) as error:
        raise UsageError(
            f"{name} cannot be built for {num_classes} classes and {channels} channels.",
            where=name,
            why=f"{type(error).__name__}: {error}",
            remedy="Give another architecture or another number of classes.",
        ) from error
    if network is None:
        raise _unknown(name)
    return network


def own_names() -> tuple[str, ...]:
    """The usual names of the app's own architectures; the WRN family has one for every depth 6n + 4 and width."""
    resnets = [f"resnet{depth}-cifar" for depth in (*RESNET_STAGES, *CIFAR_RESNET_DEPTHS)]
    resnets += [f"resnet{depth}-cifar-projection" for depth in CIFAR_RESNET_DEPTHS]
    resnets += [f"resnet{depth}-cifar-bottleneck" for depth in BOTTLENECK_STAGES]
    return (
        *("wrn-16-1", "wrn-16-2", "wrn-28-10", "wrn-40-1", "wrn-40-2"),
        *resnets,
        *(f"preact-resnet{depth}" for depth in RESNET_STAGES),
        *(f"vgg{depth}-bn-cifar" for depth in VGG_STAGES),
        *("resnet18-imagenet", "mobilenetv3-small"),
    )


def torchvision_names() -> tuple[str, ...]:
    """Every torchvision classifier, as ``torchvision/<name>``."""
    import torchvision

    return tuple(f"torchvision/{name}" for name in torchvision.models.list_models(module=torchvision.models))


def timm_names() -> tuple[str, ...]:
    """Every timm classifier, as ``timm/<name>``."""
    import timm

    return tuple(f"timm/{name}" for name in timm.list_models())


def stage_names(network: nn.Module) -> tuple[str, ...]:
    """The modules whose outputs are the stage activations, for attention transfer; empty if unknown."""
    declared = getattr(network, "block_names", None)
    if isinstance(declared, tuple):
        return declared
    children = dict(network.named_children())
    return tuple(name for name in ("layer1", "layer2", "layer3", "layer4") if name in children)


def closest_names(name: str, choices: Iterable[str], count: int = 3) -> list[str]:
    """The names most like ``name``, best first."""
    import difflib

    plain = name.rsplit("/", 1)[-1]
    by_plain = {choice.rsplit("/", 1)[-1]: choice for choice in reversed(tuple(choices))}
    return [by_plain[match] for match in difflib.get_close_matches(plain, by_plain, n=count, cutoff=0.5)]


def _own(name: str, num_classes: int, channels: int) -> nn.Module | None:
    patterns: tuple[tuple[str, Callable[..., nn.Module | None]], ...] = (
        (r"wrn-(\d+)-(\d+)", lambda d, k: WideResNet(d, k, num_classes=num_classes, channels=channels)),
        (r"resnet(\d+)-cifar(-projection)?", lambda d, p: _cifar_resnet(d, p is not None, num_classes, channels)),
        (r"resnet(50|101|152)-cifar-bottleneck", lambda d: _bottleneck_resnet(d, num_classes, channels)),
        (r"preact-resnet(18|34)", lambda d: PreActResNet(RESNET_STAGES[d], num_classes=num_classes, channels=channels)),
        (
            r"vgg(11|13|16|19)-bn-cifar(?:-h(\d+))?",
            lambda d, h: CifarVgg(d, hidden=h or 0, num_classes=num_classes, channels=channels),
        ),
    )
    for pattern, make in patterns:
        match = re.fullmatch(pattern, name)
        if match:
            return make(*(int(text) if text and text.isdigit() else text for text in match.groups()))
    return None


def _cifar_resnet(depth: int, projection: bool, num_classes: int, channels: int) -> nn.Module | None:
    if depth in RESNET_STAGES:
        if projection:
            return None
        return CifarResNet(RESNET_STAGES[depth], 64, projection=True, num_classes=num_classes, channels=channels)
    if depth < 8 or (depth - 2) % 6:
        return None
    blocks = ((depth - 2) // 6,) * 3
    return CifarResNet(blocks, 16, projection=projection, num_classes=num_classes, channels=channels)


def _bottleneck_resnet(depth: int, num_classes: int, channels: int) -> nn.Module:
    blocks = BOTTLENECK_STAGES[depth]
    return CifarResNet(blocks, 64, projection=True, num_classes=num_classes, channels=channels, bottleneck=True)


def _torchvision(name: str, num_classes: int, channels: int) -> nn.Module:
    import torchvision

    if name not in torchvision.models.list_models(module=torchvision.models):
        raise _unknown(f"torchvision/{name}")
    options: dict[str, Any] = {"weights": None, "num_classes": num_classes}
    if name in ("googlenet", "inception_v3"):
        options |= {"aux_logits": False, "init_weights": False}
    network: nn.Module = torchvision.models.get_model(name, **options)
    if channels != 3:
        _replace_stem(network, channels)
    return network


def _timm(name: str, num_classes: int, channels: int) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise _unknown(f"timm/{name}")
    with warnings.catch_warnings():
        # Advice to who would train the network from here on, about its defaults.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"timm\.")
        network: nn.Module = timm.create_model(name, pretrained=False, num_classes=num_classes, in_chans=channels)
    return network


def _replace_stem(network: nn.Module, channels: int) -> None:
    """Gives the first convolution another number of input channels."""
    name, stem = next((n, m) for n, m in network.named_modules() if isinstance(m, nn.Conv2d))
    replacement = nn.Conv2d(
        channels,
        stem.out_channels,
        stem.kernel_size,  # type: ignore[arg-type]
        stem.stride,  # type: ignore[arg-type]
        stem.padding,  # type: ignore[arg-type]
        bias=stem.bias is not None,
    )
    parent, _, leaf = name.rpartition(".")
    network.get_submodule(parent).register_module(leaf, replacement)


def _mobilenet(num_classes: int, channels: int, *, small: bool) -> nn.Module:
    network = _torchvision("mobilenet_v3_small", num_classes, channels)
    if small:
        strided = [m for m in network.modules() if isinstance(m, nn.Conv2d) and m.stride == (2, 2)]
        for convolution in strided[:2]:
            convolution.stride = (1, 1)
    return network


def _unknown(name: str) -> UsageError:
    source = timm_names() if name.startswith("timm/") else torchvision_names() if "/" in name else None
    choices = source or (*own_names(), *torchvision_names(), *timm_names())
    near = closest_names(name, choices)
    return UsageError(
        f"Unknown architecture {name!r}.",
        where="--arch",
        remedy=f"Did you mean {', '.join(near)}?"
        if near
        else f"Use one of {', '.join(own_names())}, torchvision/<name> or timm/<name>.",
    )

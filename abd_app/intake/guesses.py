"""Proposals for facts no file states. They are shown with their reason and never used without the user's word."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from abd_app.intake.stated import METADATA, StatedFacts

Channels = tuple[float, ...]

_CIFAR_MEAN = (0.4914, 0.4822, 0.4465)
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_UNIT = ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))

_BACKDOORBENCH: dict[str, tuple[Channels, Channels]] = {
    "cifar10": (_CIFAR_MEAN, (0.247, 0.243, 0.261)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "tiny": ((0.4802, 0.4481, 0.3975), (0.2302, 0.2265, 0.2262)),
    "gtsrb": _UNIT,
    "celeba": _UNIT,
    "mnist": ((0.5,), (0.5,)),
    "imagenet": _IMAGENET,
}
"""What that benchmark subtracts and divides by, by its name of the training data."""

_GTSRB_CLASSES = 43
_TRANSFORMING = frozenset(("torchvision/googlenet", "torchvision/inception_v3"))
"""Built with another normalisation inside where torchvision's own weights are loaded."""
_LARGE_PX = 64
"""From this side on a graph's images are taken for ImageNet's, below for CIFAR-10's."""

_UNRECOGNISED = "The app recognises no normalisation at the graph's input;"


@dataclass(frozen=True)
class Guess:
    """A proposal in the syntax of the command-line option, and where it comes from."""

    text: str
    why: str


def guess_mean_std(
    architecture: str | None,
    channels: int,
    num_classes: int | None,
    dataset: str | None,
    network: nn.Module | None,
    size: tuple[int, int] | None,
) -> Guess:
    """The usual normalisation for such a teacher."""
    if dataset in _BACKDOORBENCH:
        return _written(*_BACKDOORBENCH[dataset], f"BackdoorBench trains on {dataset} with these numbers.")
    if channels == 1:
        return _written((0.1307,), (0.3081,), "Mean and standard deviation of MNIST, the usual grey training data.")
    name = architecture or ""
    if (guess := _of_library(name, network)) is not None:
        return guess
    if num_classes == _GTSRB_CLASSES:
        return _written(
            *_UNIT, "Road-sign classifiers (GTSRB has 43 classes) are usually trained on plain pixels in [0, 1]."
        )
    if name == "onnx" and (size is None or min(size) >= _LARGE_PX):
        return _written(
            *_IMAGENET,
            f"{_UNRECOGNISED} these numbers are ImageNet's, the usual ones; check the accuracy.",
        )
    if name == "onnx":
        return _written(
            _CIFAR_MEAN,
            (0.247, 0.243, 0.261),
            f"{_UNRECOGNISED} these numbers are CIFAR-10's; check the accuracy.",
        )
    if name.startswith("preact-"):
        return _written(
            *_BACKDOORBENCH["cifar10"], "BackdoorBench, where this key layout comes from, uses them for CIFAR-10."
        )
    return _written(
        _CIFAR_MEAN, (0.2023, 0.1994, 0.201), "The ABD authors' CIFAR-10 numbers; others use std 0.247,0.243,0.261."
    )


def _of_library(name: str, network: nn.Module | None) -> Guess | None:
    """What the own weights of a library's architecture expect; ``None`` for other networks."""
    if name.startswith("timm/"):
        configuration = getattr(network, "pretrained_cfg", None) or {}
        mean, std = configuration.get("mean", _IMAGENET[0]), configuration.get("std", _IMAGENET[1])
        return _written(mean, std, "timm's own weights of this architecture expect these numbers.")
    if name in _TRANSFORMING:
        return _written(
            (0.5,) * 3,
            (0.5,) * 3,
            "torchvision's own weights expect ImageNet's numbers and turn them into these inside, which this network "
            "leaves out.",
        )
    if (preset := _preset(name)) is not None:
        return _written(preset.mean, preset.std, "torchvision's own weights of this architecture expect these numbers.")
    if name.startswith("torchvision/"):
        return _written(*_IMAGENET, "torchvision's own weights expect these numbers (ImageNet).")
    return None


def proposed_mean_std(proposed: StatedFacts, channels: int) -> Guess | None:
    """The normalisation of a file that may be about this teacher; ``None`` if it does not fit the channels."""
    mean, std = proposed.mean, proposed.std
    if mean is None or std is None or len(mean) not in (1, channels):
        return None
    mean, std = (mean * channels, std * channels) if len(mean) == 1 else (mean, std)
    return _written(mean, std, _possibly_of_another(proposed.source("mean")))


def proposed_input_size(proposed: StatedFacts) -> Guess | None:
    """The image size of a file that may be about this teacher."""
    if proposed.input_size is None:
        return None
    height, width = proposed.input_size
    return Guess(f"{height}x{width}", _possibly_of_another(proposed.source("input_size")))


def _possibly_of_another(source: str) -> str:
    if source == METADATA:
        return f"By {source}; the graph itself does not show it."
    return f"By {source} beside the file, which may be about another one."


def guess_input_size(architecture: str | None, network: nn.Module | None) -> Guess:
    """The usual image size for such a teacher."""
    name = architecture or ""
    if name.startswith("timm/"):
        height, width = (getattr(network, "pretrained_cfg", None) or {}).get("input_size", (3, 224, 224))[1:]
        return Guess(f"{height}x{width}", "timm's own weights of this architecture are trained at this size.")
    if name.startswith("torchvision/"):
        preset = _preset(name)
        side = 224 if preset is None else preset.crop_size[0]
        return Guess(f"{side}x{side}", "The size of torchvision's own weights; smaller ones are possible.")
    if name == "onnx":
        return Guess("224x224", "The graph takes images of any size; this is the usual one.")
    return Guess(
        "32x32", "Networks of this family are made for 32-pixel images (CIFAR, GTSRB); smaller ones are possible."
    )


def _preset(architecture: str) -> Any:
    """The transforms of torchvision's newest weights of an architecture; ``None`` where there are none."""
    from torchvision.models import get_model_weights

    library, _, name = architecture.partition("/")
    if library != "torchvision":
        return None
    try:
        return get_model_weights(name).DEFAULT.transforms()
    except (ValueError, AttributeError):  # Of some architectures there are none.
        return None


def written(values: Channels) -> str:
    """Numbers in the syntax of ``--mean`` and ``--std``."""
    return ",".join(f"{value:g}" for value in values)


def _written(mean: Channels, std: Channels, why: str) -> Guess:
    return Guess(f"{written(mean)} / {written(std)}", why)

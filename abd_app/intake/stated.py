"""Facts that a file, or a configuration beside it, states about a teacher."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

_SIDECARS = ("config.json", "preprocessor_config.json")
_SIDECAR_KEYS = frozenset(("architecture", "architectures", "pretrained_cfg", "num_classes", "id2label", "image_mean"))
"""A configuration without any of these is about something else."""

_SIZE_KEYS = ("img_size", "crop_size", "size", "input_size")
"""Images are resized to ``size`` and then cropped to ``crop_size``, where both are given."""

LEAST_PX, MOST_PX = 8, 1024
"""Of a side of the images, as for what a user says (:class:`~abd_app.plan.TeacherFacts`)."""
_MOST_CLASSES = 10**6

_MAX_SIDECAR_BYTES = 1 << 20

_FOR_BYTES = 10
"""Numbers beyond this are for pixels in [0, 255]."""
_LEAST_STD, _MOST_STD = 0.003, 2.0


@dataclass(frozen=True)
class StatedFacts:
    """What is written down somewhere; ``None`` or empty where it is not.

    Attributes:
        architecture: As the source spells it, which need not be a name of the catalogue.
        dataset: Lower-case name of the training data, e.g. ``cifar10``.
        has_unusable_size: An image size is stated that the app does not take.
        source: Who says so, for messages.
    """

    architecture: str | None = None
    num_classes: int | None = None
    input_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    class_names: tuple[str, ...] = ()
    dataset: str | None = None
    has_unusable_size: bool = False
    source: str = ""

    def merged(self, other: StatedFacts) -> StatedFacts:
        """These facts, completed by ``other`` where they are silent."""
        values = {f.name: getattr(self, f.name) or getattr(other, f.name) for f in dataclasses.fields(self)}
        return StatedFacts(**values)


def read_sidecars(original: Path) -> StatedFacts:
    """The facts in the Hugging Face configuration files beside ``original``; anything unreadable states nothing."""
    facts = StatedFacts()
    for name in _SIDECARS:
        content = _read_json(original.parent / name)
        if content is not None and not _SIDECAR_KEYS.isdisjoint(map(str, content)):
            facts = facts.merged(from_dict(content, name))
    return facts


def read_configuration(original: Path) -> Mapping[Any, Any] | None:
    """What ``config.json`` beside ``original`` holds; ``None`` if there is none, or it is unreadable."""
    return _read_json(original.parent / _SIDECARS[0])


def from_dict(content: Mapping[Any, Any], source: str) -> StatedFacts:
    """Facts under the keys that BackdoorBench, timm, Hugging Face and training scripts use."""
    nested = content.get("pretrained_cfg")
    merged: dict[Any, Any] = {**(nested if isinstance(nested, Mapping) else {}), **content}
    names = _class_names(merged)
    mean, std = for_unit_pixels(*(_numbers(merged, f"image_{key}", key) for key in ("mean", "std"))) or (None, None)
    sizes = [size for key in _SIZE_KEYS if (size := _size(merged.get(key))) is not None]
    usable = [size for size in sizes if all(LEAST_PX <= side <= MOST_PX for side in size)]
    facts = StatedFacts(
        architecture=_text(merged, "architecture", "arch", "model_name"),
        num_classes=_count(merged.get("num_classes")) or len(names) or None,
        input_size=usable[0] if usable else None,
        mean=mean,
        std=std,
        class_names=names,
        dataset=(_text(merged, "clean_data") or "").lower() or None,
        has_unusable_size=len(usable) < len(sizes),
    )
    return dataclasses.replace(facts, source=source) if facts != StatedFacts() else facts


def for_unit_pixels(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation for pixels in [0, 1], also if they are for [0, 255]; ``None`` if they are neither."""
    if mean is None or std is None or len(mean) != len(std):
        return None
    most = 255.0 if max(*mean, *std) > _FOR_BYTES else 1.0
    mean, std = tuple(value / most for value in mean), tuple(value / most for value in std)
    plausible = all(0 <= value <= 1 for value in mean) and all(_LEAST_STD <= value <= _MOST_STD for value in std)
    return (mean, std) if plausible else None


def is_dense(tensor: torch.Tensor) -> bool:
    """Whether a tensor has ordinary real numbers at each of its places, and has them here."""
    special = tensor.is_quantized or tensor.is_complex() or tensor.is_nested or tensor.is_meta
    return tensor.layout is torch.strided and not special


def _read_json(path: Path) -> Mapping[Any, Any] | None:
    try:
        if not path.is_file() or path.stat().st_size > _MAX_SIDECAR_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _text(content: Mapping[Any, Any], *keys: str) -> str | None:
    return next((value for key in keys if isinstance(value := content.get(key), str) and value), None)


def _count(value: object) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return None
    return value if 2 <= value <= _MOST_CLASSES else None


def _numbers(content: Mapping[Any, Any], *keys: str) -> tuple[float, ...] | None:
    """One number, or one for each of three channels, as a list or as a tensor of any shape."""
    for value in map(content.get, keys):
        if isinstance(value, torch.Tensor):
            value = value.flatten().tolist() if is_dense(value) and value.numel() in (1, 3) else None
        if isinstance(value, list | tuple) and len(value) in (1, 3) and all(isinstance(v, int | float) for v in value):
            with contextlib.suppress(OverflowError):  # integers have no bounds
                return tuple(float(v) for v in value)
    return None


def _size(value: object) -> tuple[int, int] | None:
    """Height and width from ``224``, ``(H, W)``, ``(H, W, C)``, ``(C, H, W)`` or a Hugging Face ``size`` dictionary."""
    if isinstance(value, Mapping):
        short = value.get("shortest_edge")
        value = (value.get("height", short), value.get("width", short))
    if isinstance(value, int):
        value = (value, value)
    if not isinstance(value, list | tuple) or not all(isinstance(v, int) and v > 0 for v in value):
        return None
    if len(value) == 3:
        value = value[1:] if value[0] in (1, 3) else value[:2]
    return (value[0], value[1]) if len(value) == 2 else None


def _class_names(content: Mapping[Any, Any]) -> tuple[str, ...]:
    labels = content.get("id2label")
    if isinstance(labels, Mapping):
        try:
            labels = [labels[key] for key in sorted(labels, key=int)]
        except (ValueError, TypeError, OverflowError, RuntimeError):  # keys may be anything, tensors too
            return ()
    else:
        labels = content.get("label_names")
    return tuple(labels) if isinstance(labels, list) and all(isinstance(name, str) for name in labels) else ()

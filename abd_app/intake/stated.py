"""Facts that a file, or a configuration beside it, states about a teacher."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SIDECARS = ("config.json", "preprocessor_config.json")
_SIDECAR_KEYS = frozenset(("architecture", "architectures", "pretrained_cfg", "num_classes", "id2label", "image_mean"))
"""A configuration without any of these is about something else."""

_SIZE_KEYS = ("img_size", "crop_size", "size", "input_size")
"""Images are resized to ``size`` and then cropped to ``crop_size``, where both are given."""

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
        source: Who says so, for messages.
    """

    architecture: str | None = None
    num_classes: int | None = None
    input_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    class_names: tuple[str, ...] = ()
    dataset: str | None = None
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


def from_dict(content: Mapping[Any, Any], source: str) -> StatedFacts:
    """Facts under the keys that BackdoorBench, timm, Hugging Face and training scripts use."""
    nested = content.get("pretrained_cfg")
    merged: dict[Any, Any] = {**(nested if isinstance(nested, Mapping) else {}), **content}
    names = _class_names(merged)
    numbers = [_numbers(merged.get(f"image_{key}") or merged.get(key)) for key in ("mean", "std")]
    mean, std = for_unit_pixels(*numbers) or (None, None)
    facts = StatedFacts(
        architecture=_text(merged, "architecture", "arch", "model_name"),
        num_classes=_count(merged.get("num_classes")) or len(names) or None,
        input_size=next(filter(None, (_size(merged.get(key)) for key in _SIZE_KEYS)), None),
        mean=mean,
        std=std,
        class_names=names,
        dataset=(_text(merged, "clean_data") or "").lower() or None,
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
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 2 else None


def _numbers(value: object) -> tuple[float, ...] | None:
    if not isinstance(value, list | tuple) or len(value) not in (1, 3):
        return None
    return tuple(float(v) for v in value) if all(isinstance(v, int | float) for v in value) else None


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
        except (ValueError, TypeError):
            return ()
    else:
        labels = content.get("label_names")
    return tuple(labels) if isinstance(labels, list) and all(isinstance(name, str) for name in labels) else ()

"""Facts that a file, or a configuration beside it, states about a teacher, and which of them states what."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

_SIZE_KEYS = ("img_size", "crop_size", "size", "input_size")
"""Images are resized to ``size`` and then cropped to ``crop_size``, where both are given."""

_CLASS_NAMES = ("id2label", "label_names", "class_names", "classes", "names", "class_to_idx")
"""A list, or a name by index; the last one, of torchvision's folders, an index by name."""
_MOST_OF_A_LITERAL = 2**16
"""Characters."""

LEAST_PX, MOST_PX = 8, 1024
"""Of a side of the images, as for what a user says (:class:`~abd_app.plan.TeacherFacts`)."""
_MOST_CLASSES = 10**6

METADATA = "the metadata in the file"
"""The source of what an ONNX file says beside its graph."""

_FOR_BYTES = 10
"""Numbers beyond this are for pixels in [0, 255]."""
_LEAST_STD, MOST_STD = 0.003, 2.0


@dataclass(frozen=True)
class StatedFacts:
    """What is written down somewhere; ``None`` or empty where it is not.

    Attributes:
        architecture: As the source spells it, which need not be a name of the catalogue.
        dataset: Lower-case name of the training data, e.g. ``cifar10``.
        has_unusable_size: An image size is stated that the app does not take.
        sources: By the name of a fact that is stated: who says so, for messages.
    """

    architecture: str | None = None
    num_classes: int | None = None
    input_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    class_names: tuple[str, ...] = ()
    dataset: str | None = None
    has_unusable_size: bool = False
    sources: Mapping[str, str] = field(default_factory=dict)

    def merged(self, other: StatedFacts) -> StatedFacts:
        """These facts, completed by ``other`` where they are silent."""
        values = {fact: getattr(self, fact) or getattr(other, fact) for fact in _FACTS}
        return StatedFacts(**values, sources={**other.sources, **self.sources})

    def said_by(self, source: str) -> StatedFacts:
        """These facts, all of them from one source."""
        return dataclasses.replace(self, sources={fact: source for fact in _FACTS if getattr(self, fact)})

    def only(self, *facts: str) -> StatedFacts:
        """These facts without all others."""
        sources = {fact: source for fact, source in self.sources.items() if fact in facts}
        return StatedFacts(**{fact: getattr(self, fact) for fact in facts}, sources=sources)

    def source(self, fact: str) -> str:
        """Who states a fact; empty if nobody does, or if it is not known who."""
        return self.sources.get(fact, "")


_FACTS = tuple(one.name for one in dataclasses.fields(StatedFacts) if one.name != "sources")
NOTHING_STATED = StatedFacts()


def from_dict(content: Mapping[Any, Any], source: str) -> StatedFacts:
    """Facts under the keys that BackdoorBench, timm, Hugging Face and training scripts use."""
    nested = content.get("pretrained_cfg")
    merged: dict[Any, Any] = {**(nested if isinstance(nested, Mapping) else {}), **content}
    names = _class_names(merged)
    mean, std = for_unit_pixels(*(_numbers(merged, f"image_{key}", key) for key in ("mean", "std"))) or (None, None)
    sizes = [size for key in _SIZE_KEYS if (size := _size(merged.get(key))) is not None]
    usable = [size for size in sizes if all(LEAST_PX <= side <= MOST_PX for side in size)]
    return StatedFacts(
        architecture=_text(merged, "architecture", "arch", "model_name") or _first_text(merged.get("architectures")),
        num_classes=_count(merged.get("num_classes")) or len(names) or None,
        input_size=usable[0] if usable else None,
        mean=mean,
        std=std,
        class_names=names,
        dataset=(_text(merged, "clean_data") or "").lower() or None,
        has_unusable_size=len(usable) < len(sizes),
    ).said_by(source)


def from_metadata(metadata: Mapping[str, str], source: str) -> StatedFacts:
    """The same of texts, as safetensors and ONNX hold them; those that are JSON mean what they hold."""
    return from_dict({name: _from_text(name, text) for name, text in metadata.items()}, source)


def for_unit_pixels(
    mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and standard deviation for pixels in [0, 1], also if they are for [0, 255]; ``None`` if they are neither."""
    if mean is None or std is None or len(mean) != len(std):
        return None
    most = 255.0 if max(*mean, *std) > _FOR_BYTES else 1.0
    mean, std = tuple(value / most for value in mean), tuple(value / most for value in std)
    plausible = all(0 <= value <= 1 for value in mean) and all(_LEAST_STD <= value <= MOST_STD for value in std)
    return (mean, std) if plausible else None


def is_dense(tensor: torch.Tensor) -> bool:
    """Whether a tensor has ordinary real numbers at each of its places, and has them here."""
    special = tensor.is_quantized or tensor.is_complex() or tensor.is_nested or tensor.is_meta
    return tensor.layout is torch.strided and not special


def _from_text(name: str, text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return _from_literal(text) if name in _CLASS_NAMES else text


def _from_literal(text: str) -> object:
    """What a Python literal holds: Ultralytics writes the names of classes so."""
    if len(text) > _MOST_OF_A_LITERAL:
        return text
    try:
        with warnings.catch_warnings(action="ignore"):  # of odd escapes
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):  # the last two of deep nesting
        return text


def _text(content: Mapping[Any, Any], *keys: str) -> str | None:
    return next((value for key in keys if isinstance(value := content.get(key), str) and value), None)


def _first_text(value: object) -> str | None:
    return value[0] if isinstance(value, list) and value and isinstance(value[0], str) and value[0] else None


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
    return next(
        (names for key in _CLASS_NAMES if (names := _names(content.get(key), inverted=key == "class_to_idx"))), ()
    )


def _names(value: object, *, inverted: bool) -> tuple[str, ...]:
    """Names in the order of their indices; empty if they are none."""
    if isinstance(value, Mapping):
        try:
            by_index = {index: name for name, index in value.items()} if inverted else value
            if inverted and by_index.keys() != set(range(len(value))):
                return ()
            value = [by_index[index] for index in sorted(by_index, key=int)]
        except (ValueError, TypeError, OverflowError, RuntimeError):  # indices may be anything, tensors too
            return ()
    return tuple(value) if isinstance(value, list | tuple) and all(isinstance(name, str) for name in value) else ()

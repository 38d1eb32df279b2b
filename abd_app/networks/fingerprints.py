"""Which of about 1,500 architectures a state_dict fits, without building them.

An index, shipped as ``resources/architectures.json``, holds hashes of the names and shapes of each one's tensors. It
only proposes: :func:`fit` builds the proposed network (shapes only) and compares every tensor. When torchvision or timm
move on, ``python -m abd_app.networks.fingerprints FILE`` writes it anew (twenty minutes).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from abd_app.errors import UsageError
from abd_app.networks import catalog

Shapes = Mapping[str, tuple[int, ...]]

_SKETCH_LENGTH = 12
_PROBES = ((7, 3), (11, 1))
"""(classes, channels) at which a network is built to see which of its tensors depend on them."""

_INITIALISERS = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_, torch.Tensor.zero_)


@dataclass(frozen=True)
class Fit:
    """How an architecture and a state_dict compare; they fit if the three lists are empty.

    Attributes:
        missing: Tensors of the architecture that the state_dict lacks.
        unexpected: Tensors of the state_dict that the architecture lacks.
        differing: ``name: file shape, architecture shape``.
    """

    architecture: str
    num_classes: int
    channels: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    differing: tuple[str, ...]

    @property
    def exact(self) -> bool:
        """True if every tensor has its counterpart of the same shape."""
        return not (self.missing or self.unexpected or self.differing)

    @property
    def differences(self) -> int:
        """How many tensors have no counterpart of the same shape."""
        return len(self.missing) + len(self.unexpected) + len(self.differing)

    def describe(self) -> str:
        """The differences in one line."""
        lists = (("missing", self.missing), ("unexpected", self.unexpected), ("of another shape", self.differing))
        parts = [f"{len(names)} {what} ({names[0]}{', …' if len(names) > 1 else ''})" for what, names in lists if names]
        return f"{self.architecture}: " + (", ".join(parts) or "every tensor fits")


class _ShapesOnly(TorchFunctionMode):
    """Gives ``torch.empty``, with which layers make their weights, no memory.

    Small constants stay real: many architectures compute with them while they are built, which the meta device as a
    default would not allow. Random initialisation is skipped.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        options = dict(kwargs or {})
        if func is torch.empty:
            options["device"] = "meta"
        elif func in _INITIALISERS and args and args[0].is_meta:
            return args[0]
        return func(*args, **options)


@cache
def tensor_shapes(name: str, num_classes: int, channels: int) -> Shapes:
    """The names and shapes of an architecture's tensors, computed without memory or initialisation.

    Raises:
        UsageError: There is no such architecture.
    """
    network = _without_memory(name, num_classes, channels)
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def shapes_of(tensors: Mapping[str, torch.Tensor]) -> Shapes:
    """The names and shapes of a state_dict."""
    return {name: tuple(value.shape) for name, value in tensors.items()}


def fit(name: str, shapes: Shapes) -> Fit:
    """Compares a state_dict with an architecture whose classes and channels are read from that state_dict.

    Raises:
        UsageError: There is no such architecture.
    """
    first, second = _probes(name)
    num_classes = _solve(first, second, shapes, dim=0) or _PROBES[0][0]
    channels = _solve(first, second, shapes, dim=1) or _PROBES[0][1]
    try:
        expected = tensor_shapes(name, num_classes, channels)
    except UsageError:
        expected = first
    missing = tuple(key for key in expected if key not in shapes)
    unexpected = tuple(key for key in shapes if key not in expected)
    differing = tuple(
        f"{key}: {_times(shapes[key])} in the file, {_times(expected[key])} in the architecture"
        for key in expected
        if key in shapes and shapes[key] != expected[key]
    )
    return Fit(name, num_classes, channels, missing, unexpected, differing)


@cache
def class_tensors(name: str) -> frozenset[str]:
    """The tensors of an architecture whose shapes depend on the number of classes.

    Raises:
        UsageError: There is no such architecture.
    """
    shapes, others = (tensor_shapes(name, classes, _PROBES[0][1]) for classes, _channels in _PROBES)
    return frozenset(key for key, shape in shapes.items() if others.get(key) != shape)


def exact_candidates(shapes: Shapes) -> tuple[str, ...]:
    """The architectures of torchvision and timm whose tensors fit, up to classes and channels; usual names first."""
    group = _index()["groups"].get(_digest(sorted(shapes)))
    if group is None:
        return ()
    names: list[str] = group["bodies"].get(_body_digest(shapes, group["variable"]), [])
    return tuple(sorted(names, key=lambda name: (name.startswith("timm/"), len(name), name)))


def nearest(shapes: Shapes, count: int = 6) -> tuple[tuple[str, float], ...]:
    """The architectures that share most tensors (name and shape), best first, with the estimated share in [0, 1]."""
    own = set(_sketch(shapes))
    if not own:
        return ()
    ranked: list[tuple[float, str]] = []
    for name, text in _index()["sketches"].items():
        other = {text[i : i + 8] for i in range(0, len(text), 8)}
        smallest = sorted(own | other)[:_SKETCH_LENGTH]
        share = sum(value in own and value in other for value in smallest) / len(smallest)
        if share > 0:
            ranked.append((-share, name))
    return tuple((name, -share) for share, name in sorted(ranked)[:count])


def make_index() -> dict[str, Any]:
    """Builds every architecture (shapes only) and hashes its tensors."""
    import timm
    import torchvision

    groups: dict[str, dict[str, Any]] = {}
    sketches: dict[str, str] = {}
    for name in (*catalog.torchvision_names(), *catalog.timm_names(), *catalog.own_names()):
        try:
            first, second = _probes(name)
        except UsageError:
            continue
        tensor_shapes.cache_clear()
        variable = [key for key in first if first[key] != second.get(key)]
        group = groups.setdefault(_digest(sorted(first)), {"variable": [], "bodies": {}})
        group["variable"] = sorted({*group["variable"], *variable})
        group["bodies"].setdefault(name, first)
    for group in groups.values():
        bodies: dict[str, list[str]] = {}
        for name, shapes in group["bodies"].items():
            digest = _body_digest(shapes, group["variable"])
            if digest not in bodies:
                sketches[name] = "".join(_sketch(shapes))
            bodies.setdefault(digest, []).append(name)
        group["bodies"] = {digest: [n for n in names if "/" in n] for digest, names in bodies.items()}
    versions = {library.__name__: library.__version__.partition("+")[0] for library in (torchvision, timm)}
    return {"versions": versions, "groups": groups, "sketches": sketches}


@cache
def _index() -> dict[str, Any]:
    from abd_app.assets import asset

    content: dict[str, Any] = json.loads(asset("architectures.json").read_text(encoding="utf-8"))
    return content


def _probes(name: str) -> tuple[Shapes, Shapes]:
    first = tensor_shapes(name, *_PROBES[0])
    try:
        return first, tensor_shapes(name, *_PROBES[1])
    except UsageError:  # A few architectures only take colour images.
        return first, tensor_shapes(name, _PROBES[1][0], _PROBES[0][1])


def _solve(first: Shapes, second: Shapes, shapes: Shapes, *, dim: int) -> int | None:
    """The number of classes (``dim`` 0) or channels (1) of a state_dict, from a tensor whose shape depends on it."""
    probed = (_PROBES[0][dim], _PROBES[1][dim])
    for key, shape in first.items():
        other, actual = second.get(key, ()), shapes.get(key, ())
        if len(shape) == len(other) == len(actual) > dim and (shape[dim], other[dim]) == probed:
            return actual[dim]
    return None


def _digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _lines(shapes: Shapes) -> list[str]:
    return [f"{key} {_times(shape)}" for key, shape in sorted(shapes.items())]


def _body_digest(shapes: Shapes, variable: list[str]) -> str:
    return _digest(_lines({key: shape for key, shape in shapes.items() if key not in variable}))


def _sketch(shapes: Shapes) -> list[str]:
    """The smallest hashes of a set of tensors; two sets share as many of them as they share tensors (MinHash)."""
    return sorted(_digest([line])[:8] for line in _lines(shapes))[:_SKETCH_LENGTH]


def _without_memory(name: str, num_classes: int, channels: int) -> nn.Module:
    """The network with weights on the meta device; a few architectures need that device for everything."""
    try:
        with _ShapesOnly():
            return catalog.build(name, num_classes, channels)
    except UsageError:
        with torch.device("meta"):
            return catalog.build(name, num_classes, channels)


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(json.dumps(make_index(), separators=(",", ":")), encoding="utf-8")

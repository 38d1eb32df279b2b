"""Last layers that somebody put in the place of an architecture's own, read from their tensors."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from abd_app.errors import UsageError
from abd_app.networks.fingerprints import Shapes, class_tensors, fit, shapes_of, tensor_shapes

Tensors = dict[str, torch.Tensor]
_Named = tuple[str, nn.Module]

_MOST_INDEXED, _MOST_NAMED = 24, 6
"""Layers of a head; of those without indices every order is tried."""
_AFFINE = {"weight", "bias"}
_INDEX = re.compile(r"[0-9]{1,4}")
_NORMALISING = _AFFINE | {"running_mean", "running_var", "num_batches_tracked"}


@dataclass(frozen=True)
class Head:
    """Layers from features to logits.

    Attributes:
        place: The module of the architecture in whose place they stand.
        layers: They, without their weights: one linear layer, or several in a row.
        tensors: Their weights, under the names that these have in the whole network.
        num_classes: Logits.
    """

    place: str
    layers: nn.Module
    tensors: Tensors
    num_classes: int

    def describe(self) -> str:
        """The layers in the order in which they run, with their features."""
        chain = self.layers if isinstance(self.layers, nn.Sequential) else (self.layers,)
        return ", ".join(
            type(one).__name__ + (f" {one.in_features} → {one.out_features}" if isinstance(one, nn.Linear) else "")
            for one in chain
        )


def replaced_head(tensors: Tensors, architecture: str) -> tuple[Tensors, Head] | None:
    """The head of a network that is ``architecture`` up to its last layers; ``None`` if it is not.

    A head is a chain of linear layers, with normalisation and dropout between them. Activations are not in the
    weights: one ReLU is assumed between two linear layers, unless their indices leave no room for any. Layers without
    indices must fit on each other in one order alone.

    Returns:
        The tensors with the architecture's own last layers, which have shapes alone, in place of the head; the head.
    """
    shapes = shapes_of(tensors)
    try:
        near = fit(architecture, shapes)
        expected = tensor_shapes(architecture, near.num_classes, near.channels)
        ours = {name for name, shape in expected.items() if shapes.get(name) != shape} | class_tensors(architecture)
    except UsageError:  # The installed library has dropped it, or it takes colour images alone.
        return None
    theirs = {name for name in shapes if name in ours or name not in expected}
    place, beneath = _module_of(ours), _module_of(theirs)
    own = {name: shape for name, shape in expected.items() if _is_within(name, place)}
    if not place or not theirs or not _linear_alone(own):
        return None
    if not beneath and own.keys() <= shapes.keys():  # what lies beside a network with a head may not belong to it
        return None
    if _is_within(beneath, place):
        beneath, theirs = place, {name for name in shapes if _is_within(name, place)}
    features = next(shape[1] for shape in own.values() if len(shape) == 2)
    found = _chain({name: value for name, value in tensors.items() if name in theirs}, beneath, features)
    if found is None:
        return None
    layers, named, num_classes = found
    head = Head(place, layers, {f"{place}.{name}": value for name, value in named.items()}, num_classes)
    plain = {name: value for name, value in tensors.items() if name not in theirs}
    for name, shape in tensor_shapes(architecture, num_classes, near.channels).items():
        if _is_within(name, place):
            plain[name] = torch.empty(shape, device="meta")
    return plain, head


def _module_of(names: set[str]) -> str:
    """The innermost module that holds all the tensors."""
    paths = [name.split(".")[:-1] for name in names]
    common = []
    for parts in zip(*paths, strict=False):
        if len(set(parts)) > 1:
            break
        common.append(parts[0])
    return ".".join(common)


def _is_within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _linear_alone(shapes: Shapes) -> bool:
    """Whether a module's tensors are those of linear layers."""
    weights = [name for name, shape in shapes.items() if len(shape) == 2]
    return bool(weights) and all(
        len(shape) == 2 or (len(shape) == 1 and f"{name.rpartition('.')[0]}.weight" in weights)
        for name, shape in shapes.items()
    )


def _chain(tensors: Tensors, module: str, features: int) -> tuple[nn.Module, Tensors, int] | None:
    """Layers that follow each other from ``features`` on, their weights by name, and how many logits they end in."""
    children: dict[str, Tensors] = defaultdict(dict)
    for name, value in tensors.items():
        child, _dot, leaf = name.removeprefix(f"{module}.").rpartition(".")
        children[child][leaf] = value
    if ("" in children and len(children) > 1) or any("." in child for child in children):
        return None
    indexed = all(_INDEX.fullmatch(child) for child in children)
    if len(children) > (_MOST_INDEXED if indexed else _MOST_NAMED):
        return None
    chains = _orders(children, sorted(children, key=int) if indexed else None, features)
    first, second = next(chains, None), next(chains, None)
    # Names have an order in some files and none in others: where two would do, neither is known to be theirs.
    linear = [layer for _, layer in first or () if isinstance(layer, nn.Linear)]
    if first is None or second is not None or not linear:
        return None
    if len(first) == 1:
        ((child, layer),) = first
        return layer, children[child], linear[-1].out_features
    complete = _with_activations(first, indexed=indexed)
    named = {f"{at}.{leaf}": value for at, (child, _) in enumerate(complete) for leaf, value in children[child].items()}
    return nn.Sequential(*(layer for _, layer in complete)), named, linear[-1].out_features


def _orders(children: dict[str, Tensors], order: list[str] | None, features: int) -> Iterator[list[_Named]]:
    """Every order in which the layers fit on each other; with ``order``, that one alone, if it does."""
    if not children:
        yield []
    for child in children if order is None else order[:1]:
        layer = _layer(children[child], features)
        if layer is not None:
            rest = {other: tensors for other, tensors in children.items() if other != child}
            given = layer.out_features if isinstance(layer, nn.Linear) else features
            for others in _orders(rest, None if order is None else order[1:], given):
                yield [(child, layer), *others]


def _layer(tensors: Tensors, features: int) -> nn.Module | None:
    """The layer that has these tensors and takes so many features; its weights are not set."""
    weight = tensors.get("weight")
    if weight is None or not weight.numel():
        return None
    shape, names = tuple(weight.shape), set(tensors)
    others = {tuple(value.shape) for name, value in tensors.items() if name not in ("weight", "num_batches_tracked")}
    if len(shape) == 2 and shape[1] == features and names <= _AFFINE and others <= {shape[:1]}:
        return nn.Linear(features, shape[0], bias="bias" in names, device="meta")
    if len(shape) == 1 and names == {"weight"} and shape[0] in (1, features):
        return nn.PReLU(shape[0], device="meta")
    if shape == (features,) and others == {shape}:
        if names == _NORMALISING:
            return nn.BatchNorm1d(features, device="meta")
        if names == _AFFINE:
            return nn.LayerNorm(features, device="meta")
    return None


def _with_activations(layers: list[tuple[str, nn.Module]], *, indexed: bool) -> list[tuple[str, nn.Module]]:
    """The layers and, with no name, a ReLU between any two linear ones: where the first index is missing, or last."""
    linear = [at for at, (_, layer) in enumerate(layers) if isinstance(layer, nn.Linear)]
    places = set()
    for first, second in pairwise(linear):
        between = range(first + 1, second + 1)
        if any(isinstance(layers[at][1], nn.PReLU) for at in between):
            continue
        gaps = [at for at in between if not indexed or int(layers[at][0]) > int(layers[at - 1][0]) + 1]
        if gaps:
            places.add(gaps[0] if indexed else second)
    complete: list[tuple[str, nn.Module]] = []
    for at, layer in enumerate(layers):
        complete += [("", nn.ReLU()), layer] if at in places else [layer]
    return complete

"""What the first nodes of an ONNX graph tell of its images: their channels, and how they are normalised."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import numpy as np

from abd_app.intake.onnx_nodes import attribute, constants, numbers

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt
    import onnx

_ADDED = 1e-6
_AFFINE = frozenset(("Sub", "Div", "Mul", "Add"))
_PASSES_THROUGH = frozenset(("Identity", "Cast", "Dropout", "Clip", "Resize", "Upsample"))
_KEEPS_CHANNELS = _AFFINE | _PASSES_THROUGH | {"Neg", "Pad", "BatchNormalization"}


def channels_of_first_convolution(model: onnx.ModelProto, name: str) -> int | None:
    """How many channels the first convolution takes that an input reaches with its channels as they are.

    Args:
        model: A checked graph, whose nodes are in the order in which they run.
        name: Of the input, whose second axis may be the channels.
    """
    known = constants(model.graph)
    reached = {name}
    for node in model.graph.node:
        if node.op_type == "Conv" and node.input[0] in reached and node.input[1] in known:
            weight = known[node.input[1]].dims
            return int(weight[1] * attribute(node, "group", 1)) if len(weight) == 4 else None
        if node.op_type in _KEEPS_CHANNELS and reached.intersection(node.input):
            reached.update(node.output)
    return None


@np.errstate(divide="ignore", invalid="ignore")
def leading_arithmetic(model: onnx.ModelProto, name: str, channels: int) -> tuple[tuple[float, ...] | None, float]:
    """Factors and largest shift of a chain of Sub, Div, Mul, Add and Neg with constants, right behind the input.

    What goes on between them does not hide it: clipping, resizing, another order of axes or of channels.

    Returns:
        A factor per channel, in the order in which the graph has them last, ``None`` if there is no such arithmetic;
        and the largest constant that is subtracted, in units of the input.
    """
    known = constants(model.graph)
    scale: npt.NDArray[np.float64] = np.ones(channels)
    found, shift, axis = False, 0.0, 1
    readers = defaultdict(list)
    for node in model.graph.node:
        for read in set(node.input):
            readers[read].append(node)
    while len(readers[name]) == 1:
        node, perm = readers[name][0], [0, 1, 2, 3]
        order = _order_of_channels(node, known, axis, channels)
        if node.op_type == "Neg":
            scale = -scale
        elif order is not None:
            scale = scale[order]
        elif node.op_type in _AFFINE:
            factor, added = _affine(node, name, known)
            if factor.size not in (1, channels) or added.size not in (1, channels):
                break
            scale, found = scale * factor, True
            if (added / scale).max() > _ADDED:  # undoes a normalisation, of which nothing is known
                return None, 0.0
            shift = max(shift, float(np.abs(added / scale).max()))
        elif node.op_type == "Transpose":
            perm = list(attribute(node, "perm", (3, 2, 1, 0)))
        elif node.op_type not in _PASSES_THROUGH:
            break
        if sorted(perm) != [0, 1, 2, 3]:
            break
        axis, name = perm.index(axis), node.output[0]
    usable = found and np.isfinite(scale).all() and scale.all()
    return (tuple(float(factor) for factor in scale), shift) if usable else (None, 0.0)


def _affine(
    node: onnx.NodeProto, name: str, known: Mapping[str, onnx.TensorProto]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """What a node multiplies its input by, and then adds; empty where it is none of that with a constant."""
    value = numbers(next((known[other] for other in node.input if other in known), None))
    is_first = node.input[0] == name
    one, none = np.ones(1), np.zeros(1)
    if node.op_type == "Div":
        return (1 / value if is_first else np.empty(0)), none
    if node.op_type == "Mul":
        return value, none
    if node.op_type == "Add" or is_first:
        return one, value if node.op_type == "Add" else -value
    return -one, value


def _order_of_channels(
    node: onnx.NodeProto, known: Mapping[str, onnx.TensorProto], axis: int, channels: int
) -> npt.NDArray[np.int64] | None:
    """The order that a Gather or Slice of all channels puts them into; ``None`` for other nodes."""
    if node.op_type not in ("Gather", "Slice"):
        return None
    values = [numbers(known.get(name)) for name in node.input[1:]]
    if node.op_type == "Gather" and attribute(node, "axis", 0) == axis and values:
        order = values[0].astype(np.int64) % channels
        return order if sorted(order) == list(range(channels)) else None
    if len(values) == 4 and all(value.size == 1 for value in values):
        start, end, along, step = (int(value[0]) for value in values)
        backwards = along in (axis, axis - 4) and step == -1 and start in (-1, channels - 1) and end < -channels
        return np.arange(channels)[::-1] if backwards else None
    return None

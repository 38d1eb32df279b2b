"""Small questions about the nodes and values of an ONNX graph."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

_SMALL = 1024
"""Numbers; more are no facts about channels."""


def constants(graph: onnx.GraphProto) -> dict[str, onnx.TensorProto]:
    """The constant tensors of a graph by name: initializers, and the values of ``Constant`` nodes."""
    nodes = [node for node in graph.node if node.op_type == "Constant"]
    values = {node.output[0]: one.t for node in nodes for one in node.attribute if one.name == "value"}
    return {tensor.name: tensor for tensor in graph.initializer} | values


def numbers(constant: onnx.TensorProto | None) -> npt.NDArray[np.float64]:
    """What a small constant holds, flat; empty if there is none, or if that is large or no numbers."""
    from onnx import numpy_helper

    if constant is None or prod(constant.dims) > _SMALL:
        return np.empty(0)
    try:
        return numpy_helper.to_array(constant).astype(np.float64).ravel()
    except (KeyError, TypeError, ValueError):  # strings, an unknown type: onnxruntime says what is wrong with them
        return np.empty(0)


def attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    """The value of a node's attribute."""
    import onnx

    found = [one for one in node.attribute if one.name == name]
    return onnx.helper.get_attribute_value(found[0]) if found else default


def drop_attribute(node: onnx.NodeProto, name: str) -> None:
    """Leaves an attribute at its default."""
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def dimensions(value: onnx.ValueInfoProto) -> list[int | None]:
    """The shape that is declared of a value, ``None`` for free sides; empty if there is none."""
    return [d.dim_value if d.dim_value > 0 else None for d in value.type.tensor_type.shape.dim]


def inputs(graph: onnx.GraphProto) -> list[onnx.ValueInfoProto]:
    """What a graph is given: of its inputs those that are no weights."""
    weights = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in weights]


def unused_name(graph: onnx.GraphProto, wanted: str) -> str:
    """``wanted``, or that with something behind it, which no value of the graph is called."""
    taken = {value.name for value in (*graph.input, *graph.output, *graph.initializer)}
    taken.update(name for node in graph.node for name in (*node.input, *node.output))
    while wanted in taken:
        wanted += "_"
    return wanted


def put_nodes_in_order(graph: onnx.GraphProto) -> None:
    """Puts each node behind those whose values it reads, as ONNX wants it; onnxruntime runs a graph in any order.

    A graph that is in order, or has none because values depend on themselves, is left as it is.
    """
    maker = {name: place for place, node in enumerate(graph.node) for name in node.output if name}
    reads = {place: [maker[name] for name in node.input if name in maker] for place, node in enumerate(graph.node)}
    if all(other < place for place, others in reads.items() for other in others):
        return
    try:
        order = list(TopologicalSorter(reads).static_order())
    except CycleError:
        return
    nodes = [graph.node[place] for place in order]
    del graph.node[:]
    graph.node.extend(nodes)

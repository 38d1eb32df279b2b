"""How large the values of an ONNX graph become, known from their shapes before anything of it is computed."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from abd_app.errors import TeacherRefusedError
from abd_app.intake.onnx_graph import GraphFacts, all_tensors

if TYPE_CHECKING:
    import onnx

_MADE_CONSTANTS = 2**26
"""Numbers that a graph may make of nothing, beside four for each of its weights."""
_AT_ONCE, _PER_IMAGE = 2**30, 2**34
"""Numbers in one value that a graph computes for one image, and in all: about twice those of a ViT-H/14 at 518 pixels
that is exported operator by operator (extrapolated from one and two of its layers)."""
_USUAL_SIDE_PX = 224
_READ_BY_INFERENCE = 1024
"""Weights of more numbers are no shapes: their own numbers do not say how large another value is."""


def numbers_per_image(
    model: onnx.ModelProto, facts: GraphFacts, original: Path, *, wanted: tuple[int, int] | None = None
) -> int:
    """How many a graph computes to answer one image; few beside those that a small file can ask for.

    Shapes are those that onnx infers for one batch, without computing any value (which may be what takes the memory); a
    value whose shape it cannot tell so is taken for as large as the largest that it can, which is no reason to refuse
    it. What is larger than that is stopped by :mod:`abd_app.intake.memory_limit`.

    Args:
        model: A checked graph.
        facts: What it takes.
        original: Where the file is, for messages.
        wanted: (height, width) of images where the graph takes any, if these are more than usual.

    Raises:
        TeacherRefusedError: Its constants, or what it computes for one image, are out of all proportion.
    """
    size = facts.size or tuple(max(side, _USUAL_SIDE_PX) for side in wanted or (_USUAL_SIDE_PX,) * 2)
    shapes = _inferred(model, facts, size)
    weights = sum(prod(tensor.dims) for tensor in all_tensors(model))
    of_image = {facts.input_name}
    batch = facts.batch or 1
    images = batch * facts.channels * prod(size)
    made, computed, unknown, largest = 0, [images], 0, (0, "", "")
    for node in model.graph.node:
        numbers = sum(prod(shapes[name]) for name in node.output if name in shapes)
        if of_image.intersection(node.input):
            of_image.update(node.output)
            computed.append(numbers)
            unknown += not shapes.keys() & set(node.output)
        elif node.op_type != "Constant":  # its numbers are in the file
            made += numbers
        largest = max(largest, (numbers, node.op_type, node.name))
    too_many = max(computed) > _AT_ONCE * batch or sum(computed) > _PER_IMAGE * batch
    if too_many or made > _MADE_CONSTANTS + 4 * weights:
        raise _too_large(original, *largest)
    return (sum(computed) + unknown * max(computed)) // batch


def _inferred(model: onnx.ModelProto, facts: GraphFacts, size: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    """Shapes by the names of values, where all sides are known."""
    import onnx

    light = without_weights(model)
    for value in light.graph.input:
        if value.name == facts.input_name:
            sides = (facts.batch or 1, facts.channels, *size)
            for dimension, side in zip(value.type.tensor_type.shape.dim, sides, strict=True):
                dimension.dim_value = side
    try:
        inferred = onnx.shape_inference.infer_shapes(light)
    except Exception:  # Inference has several, by back end; onnxruntime has the last word on such a graph.
        return {}
    found = {}
    for value in (*inferred.graph.value_info, *inferred.graph.output):
        tensor = value.type.tensor_type
        shape = tuple(side.dim_value for side in tensor.shape.dim)
        if tensor.HasField("shape") and all(side > 0 for side in shape):
            found[value.name] = shape
    return found


def _too_large(original: Path, numbers: int, operator: str, name: str) -> TeacherRefusedError:
    node = f"Node {name!r}, the operator" if name else "An operator"
    return TeacherRefusedError(
        "The ONNX model computes tensors that are far too large for an image classifier.",
        where=str(original),
        why=f"{node} {operator}, alone produces {numbers:,} numbers.",
        remedy="Export the model again; a file like this can fill the memory of the machine that opens it.",
    )


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph with the shapes of its weights, but not their numbers, and without shapes that it claims itself."""
    import onnx

    light = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = light.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    for output in model.graph.output:
        graph.output.add(name=output.name).type.tensor_type.elem_type = output.type.tensor_type.elem_type
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= _READ_BY_INFERENCE:
            graph.initializer.append(tensor)
        else:
            graph.initializer.add(name=tensor.name, dims=tensor.dims, data_type=tensor.data_type)
    return light

"""A graph that was exported for batches of one size, made to take any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from abd_app.intake.onnx_nodes import attribute, constants, drop_attribute, inputs, unused_name

if TYPE_CHECKING:
    import numpy.typing as npt
    import onnx

_BATCH = "batch"
_MOST_REPEATED = 32
"""Constants that are repeated for each image: transformers have one or two."""


def free_batch(model: onnx.ModelProto, batch: int) -> None:
    """Makes the first dimension dynamic.

    That is: in the declared shapes, in constant targets of Reshape, Expand and Resize, and of constants that are put
    beside something of each image.
    """
    graph = model.graph
    _resize_by_scales(model, batch)
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if len(dimensions) and dimensions[0].dim_value == batch:
            dimensions[0].ClearField("dim_value")
            dimensions[0].dim_param = _BATCH
    # -1 means "what is left" to Reshape, once; and 0 "as in the input", unless it is to mean none: of images there is
    # none with no side. Expand does not shrink, so that 1 leaves a side as it is.
    for operator in ("Reshape", "Expand"):
        for name, target in _constant_inputs(graph, operator, 1).items():
            if target.size > 1 and target[0] == batch:
                free = 1 if operator == "Expand" else 0 if -1 in target else -1
                _replace_constant(graph, name, np.array([free, *target[1:]], target.dtype))
    for node in graph.node:
        if node.op_type == "Reshape":
            drop_attribute(node, "allowzero")
    _repeat_constants(graph)


def _repeat_constants(graph: onnx.GraphProto) -> None:
    """Puts what a Concat has beside something of each image, such as the class token, there for each image."""
    of_image = {value.name for value in inputs(graph)}
    nodes: list[onnx.NodeProto] = []
    repeated = 0
    for node in graph.node:
        image = next((name for name in node.input if name in of_image), None)
        if image is not None:
            of_image.update(node.output)
        axis = attribute(node, "axis", 0) if node.op_type == "Concat" else 0
        if image is not None and axis > 0:
            for place, name in enumerate(node.input):
                if name not in of_image and repeated < _MOST_REPEATED:
                    made = _for_each(graph, name, image, axis=axis, called=f"{name}/for_each/{repeated}")
                    node.input[place] = made[-1].output[0]
                    nodes += made
                    repeated += 1
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _for_each(graph: onnx.GraphProto, constant: str, image: str, *, axis: int, called: str) -> list[onnx.NodeProto]:
    """Nodes that repeat a value for each image: by adding nothing of what it stands beside.

    They ask for no shape, which tracing would freeze where the network is exported again.
    """
    import onnx

    zero = onnx.helper.make_tensor(unused_name(graph, f"{called}/zero"), onnx.TensorProto.FLOAT, [], [0.0])
    places = {place: unused_name(graph, f"{called}/{place}") for place in ("start", "end", "axis")}
    graph.initializer.append(zero)
    for name, at in zip(places.values(), (0, 1, axis), strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([at]), name))
    first, nothing, whole = (unused_name(graph, f"{called}/{part}") for part in ("first", "nothing", "whole"))
    make = onnx.helper.make_node
    return [
        make("Slice", [image, *places.values()], [first]),
        make("Mul", [first, zero.name], [nothing]),
        make("Add", [constant, nothing], [whole]),
    ]


def _resize_by_scales(model: onnx.ModelProto, batch: int) -> None:
    """Gives Resize the factors of height and width instead of whole shapes, which have the batch in them."""
    import onnx

    sizes = _constant_inputs(model.graph, "Resize", 3)
    if not sizes:
        return
    shapes = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *onnx.shape_inference.infer_shapes(model).graph.value_info)
    }
    for node in model.graph.node:
        size = sizes.get(node.input[3]) if node.op_type == "Resize" and len(node.input) > 3 else None
        source = shapes.get(node.input[0], [])
        if size is not None and len(size) == len(source) and all(source) and size[0] == batch:
            scales = (size / np.array(source)).astype(np.float32)
            node.input[2] = f"{node.output[0]}/scales"
            del node.input[3]
            model.graph.initializer.append(onnx.numpy_helper.from_array(scales, node.input[2]))


def _constant_inputs(graph: onnx.GraphProto, operator: str, place: int) -> dict[str, npt.NDArray[Any]]:
    """By name, the constants that nodes of one kind have for one of their inputs."""
    from onnx import numpy_helper

    names = {node.input[place] for node in graph.node if node.op_type == operator and len(node.input) > place}
    tensors = constants(graph)
    return {name: np.array(numpy_helper.to_array(tensors[name])) for name in names & tensors.keys()}


def _replace_constant(graph: onnx.GraphProto, name: str, value: npt.NDArray[Any]) -> None:
    from onnx import numpy_helper

    tensor = constants(graph)[name]
    tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))

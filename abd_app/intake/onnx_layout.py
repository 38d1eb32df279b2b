"""Graphs of other common layouts made like all others: images (N, C, H, W) in, one row of logits per image out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from abd_app.intake.onnx_nodes import attribute, dimensions, inputs, unused_name

if TYPE_CHECKING:
    import onnx

_AXIS_DEFAULTS_TO_LAST = 13
"""From this opset on; before, Softmax goes over all axes from the second on."""


def remove_last_softmax(model: onnx.ModelProto) -> bool:
    """Makes a graph that turns logits, one row per image, into probabilities at its end answer the logits.

    Returns:
        Whether it did.
    """
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    answer = graph.output[0].name if len(graph.output) == 1 else ""
    name, behind = answer, None
    while name in makers and makers[name].op_type == "Identity":
        behind = makers[name]
        name = behind.input[0]
    softmax = makers.get(name)
    if softmax is None or softmax.op_type != "Softmax" or not _over_classes(model, softmax):
        return False
    logits = softmax.input[0]
    read_otherwise = sum(name in node.input for node in graph.node) > (behind is not None)
    if logits not in makers or read_otherwise or any(answer in node.input for node in graph.node):
        return False
    graph.node.remove(softmax)
    if behind is None:
        graph.output[0].name = logits
    else:
        behind.input[0] = logits
    others = [value for value in graph.value_info if value.name not in (logits, name)]
    del graph.value_info[:]
    graph.value_info.extend(others)
    return True


def put_channels_first(model: onnx.ModelProto) -> bool:
    """Makes a graph of images (N, H, W, C) take (N, C, H, W): they are transposed before it sees them.

    Returns:
        Whether it did.
    """
    graph, given = model.graph, inputs(model.graph)
    shape = dimensions(given[0]) if len(given) == 1 else []
    if len(shape) != 4 or shape[1] in (1, 3) or shape[3] not in (1, 3):
        return False
    import onnx

    pixels = given[0].name
    turned = unused_name(graph, f"{pixels}/channels_last")
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == pixels:
                node.input[index] = turned
    graph.node.insert(0, onnx.helper.make_node("Transpose", [pixels], [turned], perm=[0, 2, 3, 1]))
    sides = given[0].type.tensor_type.shape.dim
    usual = [onnx.TensorShapeProto.Dimension.FromString(sides[axis].SerializeToString()) for axis in (0, 3, 1, 2)]
    del sides[:]
    sides.extend(usual)
    return True


def flatten_answers(model: onnx.ModelProto) -> bool:
    """Makes a graph that answers (N, K, 1, 1) answer (N, K).

    Returns:
        Whether it did.
    """
    graph = model.graph
    shape = dimensions(graph.output[0]) if len(graph.output) == 1 else []
    if len(shape) != 4 or shape[2:] != [1, 1]:
        return False
    import onnx

    answer = graph.output[0].name
    flat = unused_name(graph, f"{answer}/flat")
    graph.node.append(onnx.helper.make_node("Flatten", [answer], [flat], axis=1))
    graph.output[0].name = flat
    del graph.output[0].type.tensor_type.shape.dim[2:]
    return True


def _over_classes(model: onnx.ModelProto, softmax: onnx.NodeProto) -> bool:
    """Whether a softmax at the end goes over one row per image, or over (N, K, 1, 1) along K."""
    shape = dimensions(model.graph.output[0])
    opset = max((one.version for one in model.opset_import if one.domain in ("", "ai.onnx")), default=1)
    axis = attribute(softmax, "axis", -1 if opset >= _AXIS_DEFAULTS_TO_LAST else 1)
    return axis in (1, -1) if len(shape) in (0, 2) else axis == 1 and len(shape) == 4 and shape[2:] == [1, 1]

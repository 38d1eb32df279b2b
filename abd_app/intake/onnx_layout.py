"""Graphs of other common layouts made like all others: images (N, C, H, W) in, one row of logits per image out."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from abd_app.intake.onnx_nodes import attribute, dimensions, inputs, unused_name
from abd_app.intake.onnx_sizes import without_weights
from abd_app.teacher import Finding

if TYPE_CHECKING:
    import onnx

_AXIS_DEFAULTS_TO_LAST = 13
"""From this opset on; before, Softmax goes over all axes from the second on."""

_SOFTMAX_REMOVED = Finding("info", "The last softmax was taken away", "What it was given are the logits.")
_SIGMOID_REMOVED = Finding(
    "warning",
    "The last sigmoid was taken away",
    "What it was given are the logits. It may say of one image that it belongs to several classes, or to none: a "
    "student names the most probable one.",
)
_TWO_CLASSES = Finding(
    "info", "Two classes made of one output", "The file answers how probable class 1 is; class 0 is the rest."
)


def answer_logits(model: onnx.ModelProto) -> list[Finding]:
    """Makes a graph that turns logits, one row per image, into probabilities at its end answer the logits.

    A single logit z behind a sigmoid becomes (0, z), whose softmax is (1 - sigmoid(z), sigmoid(z)).

    Returns:
        What was done; empty where the graph ends otherwise.
    """
    last = _remove_last(model, ("Softmax", "Sigmoid"))
    if last == "Sigmoid":
        return [_TWO_CLASSES if _make_two_classes(model) else _SIGMOID_REMOVED]
    return [_SOFTMAX_REMOVED] if last else []


def declare_width(model: onnx.ModelProto) -> None:
    """Declares how many numbers a graph answers per image where it leaves that open and its layers tell."""
    import onnx

    outputs = model.graph.output
    if len(outputs) != 1 or len(dimensions(outputs[0])) != 2 or dimensions(outputs[0])[1] is not None:
        return
    with contextlib.suppress(Exception):  # Inference has several, by back end; running the graph tells as well.
        (answer,) = onnx.shape_inference.infer_shapes(without_weights(model)).graph.output
        if len(inferred := dimensions(answer)) == 2 and inferred[1] is not None:
            outputs[0].type.tensor_type.shape.dim[1].dim_value = inferred[1]


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


def _remove_last(model: onnx.ModelProto, activations: tuple[str, ...]) -> str:
    """Takes the last node away if it is one of these; its type, or ""."""
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output}
    answer = graph.output[0].name if len(graph.output) == 1 else ""
    name, behind = answer, None
    while name in makers and makers[name].op_type == "Identity":
        behind = makers[name]
        name = behind.input[0]
    last = makers.get(name)
    if last is None or last.op_type not in activations:
        return ""
    if last.op_type == "Softmax" and not _over_classes(model, last):
        return ""
    logits = last.input[0]
    read_otherwise = sum(name in node.input for node in graph.node) > (behind is not None)
    if logits not in makers or read_otherwise or any(answer in node.input for node in graph.node):
        return ""
    graph.node.remove(last)
    if behind is None:
        graph.output[0].name = logits
    else:
        behind.input[0] = logits
    others = [value for value in graph.value_info if value.name not in (logits, name)]
    del graph.value_info[:]
    graph.value_info.extend(others)
    return str(last.op_type)


def _make_two_classes(model: onnx.ModelProto) -> bool:
    """Makes a graph that answers one logit z, (N, 1), answer (0, z); whether it did."""
    graph = model.graph
    if len(graph.output) != 1 or dimensions(graph.output[0])[1:] != [1]:
        return False
    import onnx

    logit = graph.output[0].name
    factors, both = unused_name(graph, f"{logit}/factors"), unused_name(graph, f"{logit}/classes")
    graph.initializer.append(
        onnx.helper.make_tensor(factors, graph.output[0].type.tensor_type.elem_type, [1, 2], [0, 1])
    )
    graph.node.append(onnx.helper.make_node("Mul", [logit, factors], [both]))
    graph.output[0].name = both
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = 2
    return True

"""An ONNX file as a graph: static checks, and the facts that its inputs, outputs and first nodes state."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

from abd_app.errors import TeacherRefusedError, first_line
from abd_app.intake.onnx_front import channels_of_first_convolution, leading_arithmetic
from abd_app.intake.onnx_nodes import attribute, constants, dimensions, inputs, numbers, put_nodes_in_order

if TYPE_CHECKING:
    from collections.abc import Mapping

    import onnx

MAX_BYTES = 2**31 - 1
"""A protobuf message cannot be larger."""
ONE_OUTPUT = "If its one output tells two classes apart, export it as ONNX with a sigmoid behind that."
"""What helps where a network answers with one number per image."""
_MAX_NODES = 50_000
_MAX_BATCH, _MAX_PIXELS = 1024, 2**25
"""Of a graph that takes one size alone: images, and pixels of all of them."""
_DEFAULT_DOMAINS = ("", "ai.onnx")
_CONTROL_FLOW = frozenset(("If", "Loop", "Scan", "SequenceMap"))
_QUANTISED = re.compile(r"Quantize|^QLinear|^QGemm|Integer$")


@dataclass(frozen=True)
class GraphFacts:
    """What the graph says about its images and answers.

    Attributes:
        batch: A fixed batch size; ``None`` if the graph takes any.
        size: (height, width); ``None`` if the graph takes any.
        scale: Per-channel factor of the arithmetic on the input, before the first layer; ``None`` if there is none.
        shift: The largest constant that it subtracts, in units of the input.
    """

    input_name: str
    batch: int | None
    channels: int
    size: tuple[int, int] | None
    num_classes: int | None
    scale: tuple[float, ...] | None
    shift: float


def check(model: onnx.ModelProto, original: Path) -> None:
    """Has onnx look at a model, and sees to it that it is one plain graph of standard operators, with all its weights.

    Its nodes are put in the order in which they run, if they are not.

    Raises:
        TeacherRefusedError: It is invalid, or holds something the app does not convert; the message names it.
    """
    import onnx

    _check_contents(model, original)
    put_nodes_in_order(model.graph)
    try:
        onnx.checker.check_model(model)
    except Exception as error:  # ValidationError has no common base with what malformed protobufs raise.
        raise _refused(original, "not valid ONNX", first_line(error)[:300], "Export the model again.") from error


def parse(path: Path, original: Path) -> onnx.ModelProto:
    """The model as the file has it, not looked at.

    Raises:
        TeacherRefusedError: It is damaged, or too large for the format.
    """
    import onnx

    if path.stat().st_size > MAX_BYTES:
        raise _refused(original, "larger than an ONNX file can be", "", "Use safetensors for models of more than 2 GB.")
    try:
        return onnx.load(str(path), format="protobuf", load_external_data=False)
    except Exception as error:  # The protobuf parser has several, by back end.
        why = f"{type(error).__name__}: {str(error)[:200]}"
        raise _refused(original, "incomplete or damaged", why, "Download or copy it again.") from error


def all_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Weights and constants, without sparse ones and those of graphs in graphs, which :func:`check` refuses."""
    attributes = [a for node in model.graph.node for a in node.attribute]
    return [*model.graph.initializer, *(a.t for a in attributes), *(t for a in attributes for t in a.tensors)]


def is_external(tensor: onnx.TensorProto) -> bool:
    """Whether the numbers lie in another file."""
    import onnx

    return bool(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data)


def read_facts(model: onnx.ModelProto, original: Path) -> GraphFacts:
    """What inputs, outputs and first nodes state.

    Raises:
        TeacherRefusedError: It is not a classifier of images: input or output have another number, type or shape.
    """
    given, outputs = inputs(model.graph), len(model.graph.output)
    if len(given) != 1 or outputs != 1:
        counts = f"{len(given)} input{'s' * (len(given) != 1)} and {outputs} output{'s' * (outputs != 1)}"
        what = f"a model with {counts}"
        raise _refused(original, what, "", "Export the classifier alone: images in, one row of logits per image out.")
    source, answer = given[0], model.graph.output[0]
    shape, answer_shape = dimensions(source), dimensions(answer)
    if len(shape) != 4 or _element_type(source) != "float32":
        what = f"not a classifier of images: its input {source.name!r} is {_element_type(source)} {_written(shape)}"
        raise _refused(original, what, "", "The app takes images (N, C, H, W) as floating-point numbers or uint8.")
    channels = shape[1] or channels_of_first_convolution(model, source.name)
    if channels not in (1, 3):
        tells = f"its first convolution takes {channels} channels" if channels else "no convolution tells more"
        free = "" if shape[1] else f", and {tells}"
        why = f"Its input {source.name!r} is {_written(shape)}{free}."
        remedy = "Export it with the input (N, C, H, W), and with 1 or 3 as the number of channels."
        raise _refused(original, "not a classifier of RGB or grey images", why, remedy)
    num_classes = answer_shape[1] if len(answer_shape) == 2 else None
    if (answer_shape and len(answer_shape) != 2) or (num_classes is not None and num_classes < 2):
        why = f"Its output {answer.name!r} is {_written(answer_shape)}."
        remedy = "The app takes models with one row of 2 or more logits per image."
        raise _refused(original, "not a classifier", why, f"{remedy} {ONE_OUTPUT}" if num_classes == 1 else remedy)
    size = (shape[2], shape[3]) if shape[2] and shape[3] else None
    if (shape[0] or 1) > _MAX_BATCH or (shape[0] or 1) * prod(size or (1, 1)) > _MAX_PIXELS:
        why = f"Its input {source.name!r} is {_written(shape)}."
        remedy = "Export it for smaller batches or images."
        raise _refused(original, "an ONNX model for too many pixels at once", why, remedy)
    scale, shift = leading_arithmetic(model, source.name, channels)
    return GraphFacts(source.name, shape[0], channels, size, num_classes, scale, shift)


def _check_contents(model: onnx.ModelProto, original: Path) -> None:
    graph = model.graph
    if graph.sparse_initializer or any(
        a.HasField("sparse_tensor") or a.sparse_tensors for n in graph.node for a in n.attribute
    ):
        raise _refused(original, "an ONNX model with sparse weights", "", "Save it with ordinary ones.")
    if len(graph.node) > _MAX_NODES:
        raise _refused(original, f"a graph of {len(graph.node)} nodes", "", "Open an image classifier.")
    if model.functions:
        remedy = "Inline them: onnx.inliner.inline_local_functions(model)."
        raise _refused(original, "an ONNX model with functions of its own", f"e.g. {model.functions[0].name}", remedy)
    quantised = next((node.op_type for node in graph.node if _QUANTISED.search(node.op_type)), None)
    if quantised is not None:
        remedy = "Open the floating-point model that it was made from: a student learns from its gradients."
        raise _refused(original, "a quantised ONNX model", f"It has the operator {quantised}.", remedy)
    known = constants(graph)
    trains = next((node for node in graph.node if _is_in_training(node, known)), None)
    if trains is not None:
        why = f"Node {trains.name!r}, the operator {trains.op_type}, answers as it does while a network learns."
        remedy = "Call model.eval() and export it again."
        raise _refused(original, "an ONNX model that was exported in training mode", why, remedy)
    for node in graph.node:
        foreign = node.domain not in _DEFAULT_DOMAINS
        if foreign or node.op_type in _CONTROL_FLOW or any(a.HasField("g") or a.graphs for a in node.attribute):
            name = f"{node.domain}.{node.op_type}" if foreign else node.op_type
            why = f"Node {node.name!r} is the operator {name}, which the app does not convert."
            raise _refused(
                original, "an ONNX model with an unsupported operator", why, "Export it with standard operators."
            )


def _is_in_training(node: onnx.NodeProto, known: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether a node uses the statistics of the batch, or drops values at random."""
    if node.op_type == "BatchNormalization":
        return bool(attribute(node, "training_mode", 0))
    if node.op_type != "Dropout" or len(node.input) < 3:
        return False
    ratio, mode = node.input[1:3]
    return bool(numbers(known.get(mode)).any() and (numbers(known.get(ratio)).any() or not ratio))


def _element_type(value: onnx.ValueInfoProto) -> str:
    import onnx

    try:
        return str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
    except (KeyError, ValueError):
        return "not a tensor"


def _written(shape: list[int | None]) -> str:
    return "x".join("?" if side is None else str(side) for side in shape) or "of unknown shape"


def _refused(original: Path, what: str, why: str, remedy: str) -> TeacherRefusedError:
    return TeacherRefusedError(f"The file is {what}.", where=str(original), why=why, remedy=remedy)

"""An ONNX graph as a differentiable PyTorch network: onnxslim simplifies, onnx2pytorch converts."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import nn

from abd_app.errors import TeacherRefusedError

if TYPE_CHECKING:
    import onnx

_BATCH = "batch"


class OnnxNetwork(nn.Module):
    """``(N, C, H, W)`` float images as the graph expects them -> ``(N, num_classes)``, whatever the graph answers.

    Args:
        converted: What onnx2pytorch made of the graph.
    """

    def __init__(self, converted: nn.Module) -> None:
        super().__init__()
        self.graph = converted

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Self:
        """Moves or converts everything; constants of rank 5, which channels_last cannot lay out, as flat ones."""

        def apply_to_any_rank(tensor: torch.Tensor) -> torch.Tensor:
            return fn(tensor) if tensor.ndim != 5 else fn(tensor.reshape(-1)).reshape(tensor.shape)

        super()._apply(apply_to_any_rank, recurse)  # type: ignore[no-untyped-call]
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The graph's answer."""
        with warnings.catch_warnings():
            # Converted operators index with lists and slice to 2^63; should PyTorch read that otherwise, parity tells.
            warnings.filterwarnings("ignore", message="Using a non-tuple sequence for multidimensional indexing")
            warnings.filterwarnings("ignore", message="Truncating the start/stop/step of slice")
            return self.graph(images)  # type: ignore[no-any-return]


def simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    """A simpler graph for the same answers; ``model``, a checked graph, is left as it is.

    Of a graph that takes batches of one size the size is taken for granted.
    """
    import onnxslim

    copy = _copied(model)
    for node in copy.graph.node:
        inferring = all(one.i == 0 for one in node.attribute if one.name == "training_mode")
        if node.op_type == "BatchNormalization" and inferring:
            _drop_attribute(node, "training_mode")  # 0 is its default, and the converter does not know it
    try:
        return onnxslim.slim(copy)  # type: ignore[no-any-return]
    except Exception:  # An optimiser: what it cannot simplify is converted as it is, and parity decides.
        return copy


def convert(simple: onnx.ModelProto, original: Path, *, free_batch_of: int | None = None) -> OnnxNetwork:
    """A network in eval mode with frozen weights.

    Args:
        simple: A simplified graph; it is left as it is.
        original: Where the file is, for messages.
        free_batch_of: The batch size that the graph was exported for, if it is to take any.

    Raises:
        TeacherRefusedError: An operator has no differentiable counterpart; the message names it.
    """
    copy = _copied(simple)
    if free_batch_of is not None:
        _free_batch(copy, free_batch_of)
    _rename_values(copy)
    converted = _converted(copy, original)
    _drop_copies(converted)
    network = OnnxNetwork(converted).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


def _converted(slim: onnx.ModelProto, original: Path) -> Any:
    from onnx2pytorch import ConvertModel

    for node in slim.graph.node:
        try:
            import onnx

            onnx.defs.get_schema(node.op_type)
        except Exception as error:  # Anything that is not a standard operator would be looked up in torch by its name.
            raise _not_convertible(original, node.op_type, "It is not a standard operator.") from error
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="No explicit conversion for op_type")
            for harmless in ("The given NumPy array is not writable", "Pytorch's interpolate uses no"):  # parity tells
                warnings.filterwarnings("ignore", message=harmless)
            return ConvertModel(slim)
    except Exception as error:  # Each operator's converter fails in its own way.
        match = re.search(r"op_type=(\w+)", str(error))
        operators = ", ".join(sorted({node.op_type for node in slim.graph.node}))
        name = match.group(1) if match else f"one of {operators}"
        raise _not_convertible(original, name, f"{type(error).__name__}: {str(error)[:200]}") from error


def _copied(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    return copy


def _free_batch(model: onnx.ModelProto, batch: int) -> None:
    """Makes the first dimension dynamic, in the declared shapes and in constant targets of Reshape."""
    from onnx import numpy_helper

    graph = model.graph
    del graph.value_info[:]
    for value in (*graph.input, *graph.output):
        dimensions = value.type.tensor_type.shape.dim
        if len(dimensions) and dimensions[0].dim_value == batch:
            dimensions[0].ClearField("dim_value")
            dimensions[0].dim_param = _BATCH
    targets = {node.input[1] for node in graph.node if node.op_type == "Reshape" and len(node.input) > 1}
    holders = [tensor for tensor in graph.initializer if tensor.name in targets]
    holders += [n.attribute[0].t for n in graph.node if n.op_type == "Constant" and n.output[0] in targets]
    for tensor in holders:
        shape = np.array(numpy_helper.to_array(tensor))
        if shape.size > 1 and shape[0] == batch:
            shape[0] = 0  # ONNX: "as in the input", unless ...
            tensor.CopyFrom(numpy_helper.from_array(shape, tensor.name))
    for node in graph.node:
        if node.op_type == "Reshape":
            _drop_attribute(node, "allowzero")  # ... it is to mean none; of images there is none with no side


def _drop_attribute(node: onnx.NodeProto, name: str) -> None:
    kept = [attribute for attribute in node.attribute if attribute.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def _rename_values(model: onnx.ModelProto) -> None:
    """Makes the names of values valid, unique attributes of a module: the converter makes module names of them."""
    graph = model.graph
    names: dict[str, str] = {"": ""}

    def renamed(name: str) -> str:
        if name not in names:
            plain = re.sub(r"\W+", "_", name, flags=re.ASCII).strip("_")[-60:]
            names[name] = f"{plain}_{len(names)}"
        return names[name]

    for value in (*graph.input, *graph.output, *graph.initializer):
        value.name = renamed(value.name)
    for node in graph.node:
        for values in (node.input, node.output):
            for index, name in enumerate(values):
                values[index] = renamed(name)
    del graph.value_info[:]


def _drop_copies(converted: Any) -> None:
    """Removes the constants that layers hold as their weights, and the file's bytes, which nothing reads any more."""
    from onnx2pytorch.constants import STANDARD_LAYERS

    graph = converted.onnx_model.graph
    read = {
        name
        for node in graph.node
        if not isinstance(getattr(converted, converted.mapping[node.output[0]]), STANDARD_LAYERS)
        for name in node.input
    }
    for tensor in graph.initializer:
        buffer = f"_initializer_{tensor.name}"
        if tensor.name not in read and buffer in converted._buffers:
            del converted._buffers[buffer]
    del graph.initializer[:]


def _not_convertible(original: Path, operator: str, why: str) -> TeacherRefusedError:
    return TeacherRefusedError(
        f"The ONNX operator {operator} cannot be converted for distillation.",
        where=str(original),
        why=why,
        remedy="Open the model's state_dict instead, or export it again with standard operators.",
    )

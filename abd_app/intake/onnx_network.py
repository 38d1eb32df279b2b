"""An ONNX graph as a differentiable PyTorch network: onnxslim simplifies, onnx2pytorch converts."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake.onnx_free_batch import free_batch
from abd_app.intake.onnx_nodes import constants, drop_attribute

if TYPE_CHECKING:
    import onnx

_HARMLESS = ("The given NumPy array is not writable", "Pytorch's interpolate uses no", "Model imports domains")
"""Warnings of the converter: parity tells, and of other domains no node is left."""
_NOT_FUSED = ["FusionConvBN", "FusionConvTransposeBN"]
"""What would hide the statistics that BatchNorm layers carry: image sources and activation bounds live on them."""


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


def convert(model: onnx.ModelProto, fixed_batch: int | None, original: Path, *, simplified: bool = True) -> OnnxNetwork:
    """A network in eval mode with frozen weights, for any batch size.

    Args:
        model: A checked graph; it is left as it is.
        fixed_batch: The batch size the graph was exported for, ``None`` if it takes any.
        original: Where the file is, for messages.
        simplified: Whether onnxslim is to simplify it first; what it makes does not always answer as before.

    Raises:
        TeacherRefusedError: An operator has no differentiable counterpart; the message names it.
    """
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    if fixed_batch is not None:
        free_batch(copy, fixed_batch)
    for node in copy.graph.node:
        inferring = all(one.i == 0 for one in node.attribute if one.name == "training_mode")
        if node.op_type == "BatchNormalization" and inferring:
            drop_attribute(node, "training_mode")  # 0 is its default, and the converter does not know it
    slim = _simplified(copy) if simplified else _with_constants_in_front(copy)
    _rename_values(slim)
    converted = _converted(slim, original)
    _drop_copies(converted)
    _call_batchnorms(converted)
    network = OnnxNetwork(converted).eval()
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network


def without_computed_shapes(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """A graph for any number of images that computes shapes, simplified as if for one; ``None`` if it computes none.

    What follows from shapes becomes constants, from which :func:`convert` frees it again. PyTorch's tracer, which
    exports it, does not follow computed shapes and may crash on them.
    """
    if not any(node.op_type == "Shape" for node in model.graph.node):
        return None
    import onnx

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.value_info[:]
    for value in (*copy.graph.input, *copy.graph.output):
        sides = value.type.tensor_type.shape.dim
        if len(sides) and not sides[0].dim_value:
            sides[0].dim_value = 1
    slim = _simplified(copy)
    return None if any(node.op_type == "Shape" for node in slim.graph.node) else slim


def _simplified(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxslim

    try:
        return onnxslim.slim(model, skip_fusion_patterns=_NOT_FUSED)  # type: ignore[no-any-return]
    except Exception:  # An optimiser: what it cannot simplify is converted as it is, and parity decides.
        return model


def _with_constants_in_front(model: onnx.ModelProto) -> onnx.ModelProto:
    """Makes initializers of constants in nodes: layers are made of those alone. Other names for them go."""
    graph = model.graph
    known = constants(graph)
    other_names: dict[str, str] = {}
    kept = []
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = other_names.get(name, name)
        if node.op_type == "Identity" and node.input[0] in known:
            other_names[node.output[0]] = node.input[0]
        elif node.op_type == "Constant" and node.output[0] in known:
            graph.initializer.append(known[node.output[0]])
            graph.initializer[-1].name = node.output[0]
        else:
            kept.append(node)
    del graph.node[:]
    graph.node.extend(kept)
    return model


def _converted(slim: onnx.ModelProto, original: Path) -> Any:
    from onnx2pytorch import ConvertModel

    for node in slim.graph.node:
        try:
            import onnx

            onnx.defs.get_schema(node.op_type)
        except Exception as error:  # Anything that is not a standard operator would be looked up in torch by its name.
            raise _not_convertible(
                original, f"The ONNX operator {node.op_type}", "It is not a standard operator."
            ) from error
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="No explicit conversion for op_type")
            for harmless in _HARMLESS:
                warnings.filterwarnings("ignore", message=harmless)
            return ConvertModel(slim)
    except Exception as error:  # Each operator's converter fails in its own way.
        match = re.search(r"op_type=(\w+)", str(error))
        operators = ", ".join(sorted({node.op_type for node in slim.graph.node}))
        which = f"The ONNX operator {match.group(1)}" if match else f"One of the ONNX operators {operators}"
        raise _not_convertible(original, which, f"{type(error).__name__}: {str(error)[:200]}") from error


def _call_batchnorms(converted: Any) -> None:
    """Lets hooks of BatchNorm layers run: the wrapper that the converter puts around each goes past them."""
    from onnx2pytorch.operations.batchnorm import BatchNormWrapper

    for module in converted.modules():
        if isinstance(module, BatchNormWrapper) and not module.has_lazy:
            module.forward = functools.partial(_call_batchnorm, module)


def _call_batchnorm(wrapper: Any, images: torch.Tensor) -> torch.Tensor:
    answer: torch.Tensor = wrapper.bnu(images)  # by its name: something else may have taken its place
    return answer


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


def _not_convertible(original: Path, which: str, why: str) -> TeacherRefusedError:
    return TeacherRefusedError(
        f"{which} cannot be converted for distillation.",
        where=str(original),
        why=why,
        remedy="Open the model's state_dict instead, or export it again with standard operators.",
    )

"""Graphs in half or double precision, or for pixels as integers, made to compute in single precision: float32."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from abd_app.errors import TeacherRefusedError
from abd_app.intake.onnx_graph import MAX_BYTES, all_tensors
from abd_app.intake.onnx_nodes import inputs

if TYPE_CHECKING:
    from pathlib import Path

    import onnx

_NAMES = {1: "float32", 2: "uint8", 10: "float16", 11: "float64", 16: "bfloat16"}
"""By the numbers that ONNX gives them."""
_FLOAT32, _UINT8 = 1, 2
_HALVES = frozenset((10, 16))
_OTHERS = _HALVES | {11}
_TYPE_ATTRIBUTES = ("to", "dtype", "stash_type")


def input_type(model: onnx.ModelProto) -> str:
    """What a graph's images consist of, by the name that NumPy has for it; empty if it is none that is known here."""
    given = inputs(model.graph)
    return _NAMES.get(given[0].type.tensor_type.elem_type, "") if given else ""


def put_in_float32(model: onnx.ModelProto, original: Path) -> tuple[str, ...]:
    """Makes a graph take, hold, compute and answer float32 wherever it has floating-point numbers of another width.

    An input of uint8 becomes one of float32 with the same values; whatever integers a graph has inside stay.

    Args:
        model: A checked graph; changed.
        original: Where the file is, for messages.

    Returns:
        The names of the types that are gone, ``()`` if the graph had none of them and is as it was.

    Raises:
        TeacherRefusedError: It is too large for an ONNX file in float32.
    """
    _check_size(model, original)
    gone: set[int] = set()
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.name in _TYPE_ATTRIBUTES and attribute.i in _OTHERS:
                gone.add(attribute.i)
                attribute.i = _FLOAT32
    for tensor in all_tensors(model):
        if tensor.data_type in _OTHERS:
            gone.add(tensor.data_type)
            _widen(tensor)
    for value in (*model.graph.input, *model.graph.output):
        kind = value.type.tensor_type
        if kind.elem_type in _OTHERS or (kind.elem_type == _UINT8 and value in inputs(model.graph)):
            gone.add(kind.elem_type)
            kind.elem_type = _FLOAT32
    if gone:
        del model.graph.value_info[:]  # they name the types that were
    return tuple(sorted(_NAMES[kind] for kind in gone))


def _check_size(model: onnx.ModelProto, original: Path) -> None:
    more = sum(2 * prod(tensor.dims) for tensor in all_tensors(model) if tensor.data_type in _HALVES)
    if more and (size := model.ByteSize() + more) > MAX_BYTES:
        raise TeacherRefusedError(
            "The ONNX model is too large in single precision.",
            where=str(original),
            why=f"It would have {size:,} bytes; an ONNX file can have {MAX_BYTES:,}.",
            remedy="Use safetensors for models of more than 2 GB.",
        )


def _widen(tensor: onnx.TensorProto) -> None:
    from onnx import numpy_helper

    with np.errstate(over="ignore"):  # of float64: parity with the file tells
        values = numpy_helper.to_array(tensor).astype(np.float32)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))

"""Graphs in half or double precision, or for pixels in uint8, are read in float32, and compared with the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from abd_app.errors import TeacherRefusedError
from abd_app.intake import inspect_teacher, onnx_precision
from abd_app.plan import TeacherFacts
from abd_app.teacher import Finding
from tests.unit.intake.graphs import PLAIN, answers, classifier, opened, saved

TYPES = {"float16": TensorProto.FLOAT16, "bfloat16": TensorProto.BFLOAT16, "float64": TensorProto.DOUBLE}


def _in(kind: int, model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with images, weights and answers of another type."""
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor).astype(helper.tensor_dtype_to_np_dtype(kind))
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = kind
    return model


def _precision(model: onnx.ModelProto, folder: Path) -> Finding:
    findings = opened(model, folder).card.findings
    (found,) = [finding for finding in findings if finding.title.startswith("Taken in single precision")]
    return found


@pytest.mark.parametrize("kind", TYPES)
def test_another_precision_is_read_in_float32(tmp_path: Path, kind: str) -> None:
    model, images = _in(TYPES[kind], classifier()), torch.rand(4, 3, 8, 8)
    network = opened(model, tmp_path).network
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}
    rounding = {"float16": 1e-3, "bfloat16": 1e-2, "float64": 1e-6}[kind]
    assert torch.allclose(network(images), answers(classifier(), images), rtol=rounding, atol=5 * rounding)
    assert kind in _precision(model, tmp_path).detail


def test_what_onnxruntime_runs_is_compared_and_what_it_does_not_is_said(tmp_path: Path) -> None:
    compared = _precision(_in(TensorProto.FLOAT16, classifier()), tmp_path)
    assert compared.severity == "info" and "outputs differ by at most 0." in compared.detail
    untested = _precision(_in(TensorProto.BFLOAT16, classifier()), tmp_path)
    assert untested.severity == "warning" and "could not be compared" in untested.detail


def test_a_graph_with_half_precision_inside_alone(tmp_path: Path) -> None:
    """Images and answers in float32, casts behind and before them, constants in attributes: as converters leave it."""
    half = numpy_helper.from_array(np.float16(2))
    front = [
        helper.make_node("Cast", ["x"], ["h"], to=TensorProto.FLOAT16),
        helper.make_node("Constant", [], ["two"], value=half),
        helper.make_node("Mul", ["h", "two"], ["x1"]),
    ]
    back = [helper.make_node("Cast", ["y1"], ["y"], to=TensorProto.FLOAT)]
    model = classifier(front, back)
    for tensor in model.graph.initializer:
        if tensor.name in ("w", "m"):
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    images = torch.rand(4, 3, 8, 8)
    network = opened(model, tmp_path).network
    assert torch.allclose(network(images), answers(classifier(), 2 * images), rtol=2e-3, atol=1e-2)
    assert "float16" in _precision(model, tmp_path).detail


def test_pixels_in_uint8_are_in_0_to_255(tmp_path: Path) -> None:
    front = [helper.make_node("Cast", ["x"], ["x1"], to=TensorProto.FLOAT)]
    model = classifier(front)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.UINT8
    card = inspect_teacher(saved(model, tmp_path), TeacherFacts())
    assert card.mean == (0, 0, 0) and card.std == pytest.approx((1 / 255,) * 3)
    network = opened(model, tmp_path).network
    pixels = torch.randint(256, (4, 3, 8, 8), dtype=torch.uint8)
    assert torch.allclose(network(pixels.float()), answers(model, pixels), rtol=1e-4, atol=1e-3)
    found = _precision(model, tmp_path)
    assert found.severity == "info" and found.detail.endswith("The file has uint8. In float32 its outputs agree.")


def test_a_graph_that_needs_its_own_precision_is_refused(tmp_path: Path) -> None:
    """A thousand million and 1 are a thousand million in float32."""
    front = [
        helper.make_node("Cast", ["x"], ["d"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["d", "big"], ["sum"]),
        helper.make_node("Sub", ["sum", "big"], ["rounded"]),
        helper.make_node("Cast", ["rounded"], ["x1"], to=TensorProto.FLOAT),
    ]
    with pytest.raises(TeacherRefusedError, match="In single precision its outputs differ by"):
        opened(classifier(front, big=np.float64(1e9)), tmp_path)


def test_a_graph_in_float32_is_left_alone(tmp_path: Path) -> None:
    model = classifier()
    before = model.SerializeToString()
    assert onnx_precision.put_in_float32(model, tmp_path) == () and model.SerializeToString() == before
    titles = [finding.title for finding in opened(model, tmp_path).card.findings]
    assert not any("precision" in title for title in titles)


def test_nodes_in_any_order_are_read(tmp_path: Path) -> None:
    """As converters leave it that put casts at the end; onnxruntime runs it."""
    model, images = classifier(), torch.rand(4, 3, 8, 8)
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    with pytest.raises(onnx.checker.ValidationError, match="topologically"):
        onnx.checker.check_model(model)
    assert torch.allclose(opened(model, tmp_path).network(images), answers(classifier(), images), atol=1e-5)


def test_nodes_that_read_each_other_are_refused(tmp_path: Path) -> None:
    front = [helper.make_node("Add", ["x", "back"], ["x1"]), helper.make_node("Relu", ["x1"], ["back"])]
    with pytest.raises(TeacherRefusedError, match="not valid ONNX"):
        inspect_teacher(saved(classifier(front), tmp_path), PLAIN)


def test_a_graph_that_float32_makes_too_large_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    half, whole = _in(TensorProto.FLOAT16, classifier()), classifier()
    monkeypatch.setattr(onnx_precision, "MAX_BYTES", half.ByteSize() + 100)
    before = half.SerializeToString()
    with pytest.raises(TeacherRefusedError, match="too large in single precision"):
        onnx_precision.put_in_float32(half, tmp_path)
    assert half.SerializeToString() == before
    assert onnx_precision.put_in_float32(whole, tmp_path) == (), "of the size that it has already"

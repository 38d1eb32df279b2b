"""Small classifiers as ONNX graphs, made node by node."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from abd_app.intake import open_teacher
from abd_app.plan import TeacherFacts
from abd_app.teacher import Teacher

PLAIN = TeacherFacts(mean=(0.0,) * 3, std=(1.0,) * 3)
Nodes = list[onnx.NodeProto]


def constants(**values: Any) -> list[onnx.TensorProto]:
    return [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]


def classifier(
    front: Nodes | None = None,
    back: Nodes | None = None,
    *,
    batch: int | str = "batch",
    size: int | str = 8,
    **more: Any,
) -> onnx.ModelProto:
    """Images ``x`` -> [front] -> conv, relu, mean, linear -> [back] -> ``y``, three classes, fixed weights."""
    draw = np.random.default_rng(0)
    weights = constants(
        w=draw.standard_normal((4, 3, 3, 3)).astype(np.float32),
        m=draw.standard_normal((4, 3)).astype(np.float32),
        target=np.array([batch if isinstance(batch, int) else 0, 4]),
        **more,
    )
    nodes = [
        *(front or []),
        helper.make_node("Conv", ["x1" if front else "x", "w"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Reshape", ["g", "target"], ["f"]),
        helper.make_node("MatMul", ["f", "m"], ["y1" if back else "y"]),
        *(back or []),
    ]
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, size, size])
    answers = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])
    graph = helper.make_graph(nodes, "classifier", [images], [answers], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def saved(model: onnx.ModelProto, folder: Path) -> str:
    (folder / "teacher.onnx").write_bytes(model.SerializeToString())
    return str(folder / "teacher.onnx")


def opened(model: onnx.ModelProto, folder: Path, facts: TeacherFacts = PLAIN) -> Teacher:
    return open_teacher(saved(model, folder), facts)


def answers(model: onnx.ModelProto, images: torch.Tensor) -> torch.Tensor:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"x": images.numpy()})[0])

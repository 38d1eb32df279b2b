"""A network that does not answer as its file does, or has another gradient, is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxslim
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake import inspect_teacher
from abd_app.intake.onnx_graph import GraphFacts
from abd_app.intake.onnx_parity import Reference, check_parity
from abd_app.networks.batchnorm import tracked_batchnorms
from abd_app.plan import TeacherFacts
from tests.unit.intake.graphs import PLAIN, answers, classifier, constants, opened, saved


def test_a_step_without_gradient_is_refused(tmp_path: Path) -> None:
    front = [helper.make_node("Round", ["x"], ["x1"])]
    with pytest.raises(TeacherRefusedError) as caught:
        opened(classifier(front), tmp_path)
    assert "radient" in caught.value.why


def test_parity_fails_for_another_network(tmp_path: Path) -> None:
    path = Path(saved(classifier(), tmp_path))
    reference = Reference(path, path, GraphFacts("x", None, 3, (8, 8), 3, None, 0.0))
    network = opened(classifier(), tmp_path).network
    assert check_parity(network, reference, (3, 8, 8)).shape[1] == 3
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data[0, 0, 0, 0] += 0.1
    with pytest.raises(TeacherRefusedError, match="faithfully"):
        check_parity(network, reference, (3, 8, 8))


def test_a_wrong_gradient_is_noticed(tmp_path: Path) -> None:
    class HalfGradient(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            answer: torch.Tensor = self.network(images)
            return (answer + answer.detach()) / 2

    path = Path(saved(classifier(), tmp_path))
    reference = Reference(path, path, GraphFacts("x", None, 3, (8, 8), 3, None, 0.0))
    with pytest.raises(TeacherRefusedError, match="faithfully") as caught:
        check_parity(HalfGradient(opened(classifier(), tmp_path).network), reference, (3, 8, 8))
    assert "gradients differ" in caught.value.why


def _narrow() -> onnx.ModelProto:
    """Of any size, as it says, but its answer has one row for each image of 48 x 192 pixels alone."""
    weight = np.random.default_rng(0).standard_normal((4, 3, 1, 1)).astype(np.float32)
    nodes = [
        helper.make_node("AveragePool", ["x"], ["p"], kernel_shape=[48, 192]),
        helper.make_node("Conv", ["p", "w"], ["c"]),
        helper.make_node("Reshape", ["c", "row"], ["y"]),
    ]
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, "h", "w"])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    weights = constants(w=weight, row=np.array([-1, 4]))
    graph = helper.make_graph(nodes, "narrow", [images], [output], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_the_size_that_the_user_gives_is_tried_first(tmp_path: Path) -> None:
    facts = TeacherFacts(input_size=(48, 192), mean=(0.0,) * 3, std=(1.0,) * 3)
    teacher, images = opened(_narrow(), tmp_path, facts), torch.rand(3, 3, 48, 192)
    assert torch.allclose(teacher.network(images), answers(_narrow(), images), atol=1e-5)
    with pytest.raises(TeacherRefusedError) as caught:
        inspect_teacher(saved(_narrow(), tmp_path), PLAIN)
    assert "--size HxW" in caught.value.remedy


def test_a_graph_that_simplifying_changes_is_converted_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"gamma": [1, 2, 3], "beta": [0, 1, 0], "var": [0.1, 0.2, 0.3]}
    weights = {name: np.array(value, np.float32) for name, value in values.items()}
    mean = helper.make_node("Constant", [], ["mean"], value=constants(m=np.float32([0.4, 0.5, 0.6]))[0])
    named = helper.make_node("Identity", ["mean"], ["mu"])
    norm = helper.make_node("BatchNormalization", ["x", "gamma", "beta", "mu", "var"], ["x1"])
    model = classifier([mean, named, norm], **weights)
    slim = onnxslim.slim

    def changing(graph: onnx.ModelProto, **options: object) -> onnx.ModelProto:
        slimmed = slim(graph, **options)
        for tensor in slimmed.graph.initializer:
            if list(tensor.dims) == [4, 3]:
                tensor.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(tensor), tensor.name))
        return slimmed

    monkeypatch.setattr(onnxslim, "slim", changing)
    teacher, images = opened(model, tmp_path), torch.rand(3, 3, 8, 8)
    assert torch.allclose(teacher.network(images), answers(model, images), atol=1e-4)
    assert len(tracked_batchnorms(teacher.network)) == 1, "its statistics are an initializer now"


@pytest.mark.parametrize(("batch", "said"), [(None, "another exporter"), (4, "dynamic batch")])
def test_the_way_out_fits_what_the_file_takes(tmp_path: Path, batch: int | None, said: str) -> None:
    path = Path(saved(classifier(batch=batch or "batch"), tmp_path))
    reference = Reference(path, path, GraphFacts("x", batch, 3, (8, 8), 3, None, 0.0))
    network = opened(classifier(), tmp_path).network
    for front in (network, nn.Flatten()):
        wrong = nn.Sequential(front, nn.Hardtanh(0, 1e-3))
        with pytest.raises(TeacherRefusedError) as caught:
            check_parity(wrong, reference, (3, 8, 8))
        assert said in caught.value.remedy
    for weight in (np.inf, np.nan):
        broken = Path(saved(classifier([helper.make_node("Mul", ["x", "k"], ["x1"])], k=np.float32(weight)), tmp_path))
        with pytest.raises(TeacherRefusedError) as caught:
            check_parity(network, Reference(broken, broken, reference._facts), (3, 8, 8))
        assert "intact file" in caught.value.remedy


@pytest.mark.parametrize("constant", [True, False])
def test_answers_that_do_not_move_are_compared_without_a_division(tmp_path: Path, constant: bool) -> None:
    still = [helper.make_node("Mul", ["x", "none"], ["x1"])]
    path = Path(saved(classifier(still, none=np.float32(0)), tmp_path))
    reference = Reference(path, path, GraphFacts("x", None, 3, (8, 8), 3, None, 0.0))
    network = opened(classifier(still, none=np.float32(0)), tmp_path).network

    class Moving(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            """A gradient that no answer shows."""
            return network(images) + (images - images.detach()).sum((1, 2, 3)).unsqueeze(1)  # type: ignore[no-any-return]

    if constant:
        assert not check_parity(network, reference, (3, 8, 8)).any()
        return
    with pytest.raises(TeacherRefusedError) as caught:
        check_parity(Moving(), reference, (3, 8, 8))
    assert "not zero, as those of the file are" in caught.value.why


def test_a_graph_for_which_memory_ran_out_is_not_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def convert(*_parts: object, **_options: object) -> None:
        tries.append(1)
        raise MemoryError("Unable to allocate 3.00 GiB for an array")

    monkeypatch.setattr("onnx2pytorch.ConvertModel", convert)
    with pytest.raises(TeacherRefusedError, match="far more memory"):
        opened(classifier(), tmp_path)
    assert len(tries) == 1

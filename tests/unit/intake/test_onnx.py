"""ONNX files become differentiable networks that answer as onnxruntime does, or are refused by name."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from abd_app.distill.defences.bounds import bound_activations
from abd_app.distill.observe import batchnorm_distances
from abd_app.errors import TeacherRefusedError, UsageError
from abd_app.intake import inspect_teacher, open_teacher
from abd_app.intake.onnx_network import OnnxNetwork
from abd_app.plan import TeacherFacts
from tests.unit.intake.graphs import PLAIN, answers, classifier, constants, opened, saved


def test_the_converted_teacher_is_a_good_module(tmp_path: Path) -> None:
    model = classifier()
    teacher = opened(model, tmp_path)
    images = torch.rand(5, 3, 8, 8, requires_grad=True)
    logits = teacher.network(images)
    logits.sum().backward()
    logits = logits.detach()
    assert torch.allclose(logits, answers(model, images.detach()), atol=1e-5)
    assert images.grad is not None
    assert images.grad.abs().sum() > 0
    assert sum(isinstance(module, nn.Conv2d) for _name, module in teacher.network.named_modules()) == 1
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    twin = copy.deepcopy(teacher.network).to(memory_format=torch.channels_last)
    channels_last = images.detach().contiguous(memory_format=torch.channels_last)
    assert torch.allclose(twin(channels_last), logits, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.allclose(twin(channels_last), logits, atol=0.05 * float(logits.abs().max()))
    assert (teacher.card.format, teacher.card.num_classes, teacher.card.input_size) == ("ONNX", 3, (8, 8))
    assert teacher.card.answers == "logits"


def test_a_wide_resnet_as_pytorch_exports_it(wrn: nn.Module, tmp_path: Path) -> None:
    images = torch.rand(2, 3, 16, 16)
    program = torch.onnx.export(
        wrn,
        (images,),
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        external_data=False,
    )
    assert program is not None
    program.save(str(tmp_path / "wrn.onnx"))
    teacher = open_teacher(str(tmp_path / "wrn.onnx"), PLAIN)
    assert (teacher.card.num_classes, teacher.card.input_size) == (5, (16, 16))
    assert teacher.card.batchnorm_layers > 0 and teacher.card.batchnorm_folded
    images = torch.rand(7, 3, 16, 16)
    assert torch.allclose(teacher.network(images), wrn(images), atol=1e-4)
    for network in (teacher.network, copy.deepcopy(teacher.network)):
        with batchnorm_distances(network) as distances:
            network(images)
        assert len(distances) == teacher.card.batchnorm_layers, "each layer can be looked into"
    bounded = copy.deepcopy(teacher.network)
    bounds = bound_activations(bounded, 0.1)
    answer = bounded(images)
    assert (answer - wrn(images)).abs().max() > 1e-3, "bounds act"
    assert torch.allclose(bounds.built_into(bounded)(images), answer, atol=1e-5)
    assert torch.allclose(teacher.network(images), wrn(images), atol=1e-4), "the original is as it was"


def test_constants_of_rank_five_survive_channels_last() -> None:
    network = OnnxNetwork(nn.Identity())
    network.register_buffer("indices", torch.arange(12).reshape(1, 2, 1, 3, 2))
    moved = network.to(memory_format=torch.channels_last)
    assert torch.equal(moved.get_buffer("indices"), torch.arange(12).reshape(1, 2, 1, 3, 2))


def test_constants_in_nodes_count_as_those_in_front_do(tmp_path: Path) -> None:
    """Where a normalisation is looked for, and where a fixed batch is freed."""
    model = classifier([helper.make_node("Div", ["x", "sd"], ["x1"])], batch=4, sd=np.float32(255))
    moved = [tensor for tensor in model.graph.initializer if tensor.name in ("sd", "target")]
    nodes = [helper.make_node("Constant", [], [tensor.name], value=tensor) for tensor in moved]
    nodes += list(model.graph.node)
    for tensor in moved:
        model.graph.initializer.remove(tensor)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    teacher = opened(model, tmp_path, TeacherFacts())
    assert teacher.spec.std == pytest.approx((1 / 255,) * 3)
    assert "Fixed batch size removed" in [finding.title for finding in teacher.card.findings]


@pytest.mark.parametrize("allowzero", [0, 1])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_fixed_batch_is_freed(tmp_path: Path, batch: int, allowzero: int) -> None:
    model = classifier(batch=batch)
    (reshape,) = [node for node in model.graph.node if node.op_type == "Reshape"]
    reshape.attribute.append(helper.make_attribute("allowzero", allowzero))  # as PyTorch exports it
    teacher = opened(model, tmp_path)
    images = torch.rand(6, 3, 8, 8)
    assert torch.allclose(teacher.network(images), answers(classifier(), images), atol=1e-5)
    assert any("batch" in finding.title for finding in teacher.card.findings)


@pytest.mark.parametrize(("axis", "mixes"), [(0, True), (1, False)])
def test_a_graph_that_goes_across_images_is_a_warning(tmp_path: Path, axis: int, mixes: bool) -> None:
    card = opened(classifier(back=[helper.make_node("Softmax", ["y1"], ["y"], axis=axis)]), tmp_path).card
    assert any("rest of the batch" in finding.title for finding in card.findings) == mixes


def test_any_size_is_asked(tmp_path: Path) -> None:
    model = classifier(size="side")
    card = inspect_teacher(saved(model, tmp_path), PLAIN)
    assert [question.fact for question in card.questions] == ["input_size"]
    assert opened(model, tmp_path, TeacherFacts(input_size=(12, 16), mean=(0.0,) * 3, std=(1.0,) * 3)).spec.width == 16


def test_another_size_than_the_graphs_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes 8x8 images, not 32x32"):
        inspect_teacher(saved(classifier(), tmp_path), TeacherFacts(input_size=(32, 32)))


def _refusal(model: onnx.ModelProto, folder: Path) -> TeacherRefusedError:
    with pytest.raises(TeacherRefusedError) as caught:
        inspect_teacher(saved(model, folder), TeacherFacts())
    assert caught.value.where == str(folder / "teacher.onnx")
    assert caught.value.remedy
    return caught.value


def test_sparse_weights_are_refused(tmp_path: Path) -> None:
    model = classifier()
    values, indices = constants(v=np.ones(1, np.float32), i=np.zeros(1, np.int64))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    assert "sparse weights" in _refusal(model, tmp_path).what


def test_sparse_constants_are_refused(tmp_path: Path) -> None:
    values, indices = constants(v=np.ones(1, np.float32), i=np.zeros(1, np.int64))
    constant = helper.make_node("Constant", [], ["k"], sparse_value=helper.make_sparse_tensor(values, indices, [10**9]))
    model = classifier([constant, helper.make_node("Add", ["x", "k"], ["x1"])])
    assert "sparse weights" in _refusal(model, tmp_path).what


@pytest.mark.parametrize("constant", [np.array(["a"], dtype=object), np.empty(0, np.float32)])
def test_a_front_that_computes_with_no_numbers_is_refused(tmp_path: Path, constant: np.ndarray) -> None:
    model = classifier([helper.make_node("Sub", ["x", "k"], ["x1"])], k=constant)
    refusal = _refusal(model, tmp_path)
    assert "unexpected" not in refusal.what and "onnxruntime" in refusal.remedy


@pytest.mark.parametrize(("batch", "size"), [(2**40, 8), (2000, 8), (1, 100_000), (1000, 1000)])
def test_graphs_for_too_many_pixels_at_once_are_refused(tmp_path: Path, batch: int, size: int) -> None:
    assert "too many pixels" in _refusal(classifier(batch=batch, size=size), tmp_path).what


@pytest.mark.parametrize("operator", ["QuantizeLinear", "DynamicQuantizeLinear"])
def test_quantised_models_are_called_so(tmp_path: Path, operator: str) -> None:
    model = classifier(size=8)
    model.graph.node.append(helper.make_node(operator, ["r", "s", "z"], ["q"], name="quantise"))
    refusal = _refusal(model, tmp_path)
    assert "a quantised ONNX model" in refusal.what and operator in refusal.why


@pytest.mark.parametrize("domain", ["com.example", "ai.onnx.ml"])
def test_foreign_operators_are_named(tmp_path: Path, domain: str) -> None:
    model = classifier(back=[helper.make_node("Load", ["y1"], ["y"], domain=domain)])
    model.opset_import.append(helper.make_opsetid(domain, 1))
    assert f"{domain}.Load" in _refusal(model, tmp_path).why


def test_control_flow_is_named(tmp_path: Path) -> None:
    branch = helper.make_graph(
        [helper.make_node("Identity", ["y1"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    node = helper.make_node("If", ["yes"], ["y"], then_branch=branch, else_branch=branch)
    assert "If" in _refusal(classifier(back=[node], yes=np.array(True)), tmp_path).why


def test_an_invalid_graph_is_refused(tmp_path: Path) -> None:
    assert (
        "not valid ONNX" in _refusal(classifier(front=[helper.make_node("Relu", ["nowhere"], ["x1"])]), tmp_path).what
    )


def test_two_outputs_are_refused(tmp_path: Path) -> None:
    model = classifier()
    model.graph.output.append(helper.make_tensor_value_info("f", TensorProto.FLOAT, ["batch", 4]))
    assert "2 outputs" in _refusal(model, tmp_path).what


def test_other_domains_that_no_node_is_of_are_nothing_to_warn_of(
    tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    model = classifier()
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
    assert opened(model, tmp_path).card.num_classes == 3
    assert [str(warning.message) for warning in recwarn if "domains" in str(warning.message)] == []


def test_where_the_converter_names_no_operator_all_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_model: onnx.ModelProto) -> None:
        raise NotImplementedError("Extraction of attribute ceil_mode not implemented.")

    monkeypatch.setattr("onnx2pytorch.ConvertModel", fail)
    with pytest.raises(TeacherRefusedError) as caught:
        opened(classifier(), tmp_path)
    assert caught.value.what.startswith("One of the ONNX operators Conv, GlobalAveragePool, ")

"""Graphs of other common layouts are read as they are: what is at their ends is put right in memory."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from abd_app.errors import TeacherRefusedError, UsageError
from abd_app.intake import inspect_teacher
from abd_app.plan import TeacherFacts
from tests.unit.intake.graphs import answers, classifier, constants, opened, saved


@pytest.mark.parametrize("behind", [0, 1, 2])
@pytest.mark.parametrize("axis", [1, -1])
@pytest.mark.parametrize("batch", [None, 4])
def test_a_last_softmax_is_taken_away(tmp_path: Path, axis: int, batch: int | None, behind: int) -> None:
    """Logits that are far apart, too: of their softmax, in fp32, nothing but 0 and 1 would be left."""
    names = [*["y3", "y4"][:behind], "y"]
    scaled = [helper.make_node("Mul", ["y1", "far"], ["y2"]), helper.make_node("Softmax", ["y2"], names[:1], axis=axis)]
    scaled += [helper.make_node("Identity", [name], [other]) for name, other in itertools.pairwise(names)]
    model = classifier(back=scaled, batch=batch, far=np.float32(200))
    teacher = opened(model, tmp_path)
    images = torch.rand(4, 3, 8, 8)
    assert teacher.card.answers == "logits"
    assert any("softmax was taken away" in finding.title for finding in teacher.card.findings)
    plain = 200 * answers(classifier(), images)
    assert torch.allclose(teacher.network(images), plain, rtol=1e-3, atol=0.1)
    assert plain.softmax(1).max() == 1
    for said in ("probabilities", "logits"):  # of the file, or of what is left of it
        facts = TeacherFacts(mean=(0.0,) * 3, std=(1.0,) * 3, answers=said)  # type: ignore[arg-type]
        assert opened(model, tmp_path, facts).card.answers == "logits"


def test_a_last_sigmoid_is_taken_away(tmp_path: Path) -> None:
    """As of classes that do not exclude each other: what it is given tells more than numbers close to 0 or 1."""
    model = classifier(back=[helper.make_node("Sigmoid", ["y1"], ["y"])])
    teacher = opened(model, tmp_path)
    assert (teacher.card.answers, teacher.card.num_classes) == ("logits", 3)
    found = {finding.title: finding for finding in teacher.card.findings}
    assert found["The last sigmoid was taken away"].severity == "warning"
    images = torch.rand(4, 3, 8, 8)
    assert torch.allclose(teacher.network(images), answers(classifier(), images), atol=1e-5)
    assert torch.allclose(teacher.network(images).sigmoid(), answers(model, images), atol=1e-5)


@pytest.mark.parametrize("declared", [True, False])
def test_one_output_behind_a_sigmoid_is_two_classes(tmp_path: Path, declared: bool) -> None:
    back = [helper.make_node("MatMul", ["y1", "one"], ["y2"]), helper.make_node("Sigmoid", ["y2"], ["y"])]
    model = classifier(back=back, one=np.array([[1], [0], [-2]], np.float32))
    _declare(model, 1 if declared else None)
    probable = answers(model, images := torch.rand(4, 3, 8, 8))
    teacher = opened(model, tmp_path)
    assert (teacher.card.answers, teacher.card.num_classes) == ("logits", 2)
    assert "Two classes made of one output" in [finding.title for finding in teacher.card.findings]
    rest_and_one = torch.cat([1 - probable, probable], dim=1)
    assert torch.allclose(teacher.network(images).softmax(1), rest_and_one, atol=1e-5)


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("inferred", [True, False])
def test_one_output_without_a_sigmoid_is_no_classifier(tmp_path: Path, declared: bool, inferred: bool) -> None:
    """It may be an age."""
    back = [helper.make_node("MatMul", ["y1", "one"], ["y" if inferred else "y2"])]
    if not inferred:  # the shape is computed from the numbers of images
        back += [helper.make_node("Shape", ["y2"], ["s"]), helper.make_node("Abs", ["s"], ["s1"])]
        back.append(helper.make_node("Reshape", ["y2", "s1"], ["y"]))
    model = classifier(back=back, one=np.ones((3, 1), np.float32))
    _declare(model, 1 if declared else None)
    with pytest.raises(TeacherRefusedError, match="not a classifier") as caught:
        opened(model, tmp_path)
    assert "export it as ONNX with a sigmoid" in caught.value.remedy


def _declare(model: onnx.ModelProto, width: int | None) -> None:
    side = model.graph.output[0].type.tensor_type.shape.dim[1]
    side.Clear()
    if width is None:
        side.dim_param = "k"
    else:
        side.dim_value = width


def test_other_probabilities_are_noticed_and_become_logits(tmp_path: Path) -> None:
    back = [helper.make_node("Softmax", ["y1"], ["y2"], axis=1), helper.make_node("Mul", ["y2", "one"], ["y"])]
    model = classifier(back=back, one=np.float32(1))
    teacher = opened(model, tmp_path)
    images = torch.rand(4, 3, 8, 8)
    assert teacher.card.answers == "probabilities"
    plain = answers(classifier(), images)
    assert torch.allclose(teacher.network(images), plain.log_softmax(1), atol=1e-4)
    with pytest.raises(UsageError, match="answers probabilities"):
        opened(model, tmp_path, TeacherFacts(answers="logits"))


def _of_any_shape(channels: int, front: list[onnx.NodeProto] | None = None, **more: Any) -> onnx.ModelProto:
    """What ``torch.onnx.export`` makes with four dynamic axes: images ``x`` -> [front] -> conv, mean -> ``y``."""
    weight = np.random.default_rng(0).standard_normal((5, channels, 3, 3)).astype(np.float32)
    nodes = [
        *(front or []),
        helper.make_node("Conv", ["x1" if front else "x", "w"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", "c", "h", "w"])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])
    graph = helper.make_graph(nodes, "any", [images], [output], constants(w=weight, **more))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_that_the_input_leaves_open_are_those_of_the_first_convolution(tmp_path: Path, channels: int) -> None:
    front = [helper.make_node("Sub", ["x", "mu"], ["x0"]), helper.make_node("Identity", ["x0"], ["x1"])]
    model = _of_any_shape(channels, front, mu=np.full((1, channels, 1, 1), 0.5, np.float32))
    facts = TeacherFacts(input_size=(12, 16), mean=(0.0,) * channels, std=(1.0,) * channels)
    teacher = opened(model, tmp_path, facts)
    assert (teacher.card.channels, teacher.card.input_size, teacher.card.num_classes) == (channels, (12, 16), 5)
    images = torch.rand(3, channels, 12, 16)
    assert torch.allclose(teacher.network(images), answers(model, images), atol=1e-5)


def test_another_number_of_channels_is_named(tmp_path: Path) -> None:
    squeezed = [helper.make_node("Transpose", ["x"], ["x1"], perm=[0, 3, 1, 2])]
    for model, said in (
        (_of_any_shape(4), "takes 4 channels"),
        (_of_any_shape(3, squeezed), "no convolution tells more"),
    ):
        with pytest.raises(TeacherRefusedError) as caught:
            inspect_teacher(saved(model, tmp_path), TeacherFacts())
        assert "'x' is ?x?x?x?" in caught.value.why and said in caught.value.why


def _channels_last(size: int | str, *, normalises: bool = False) -> onnx.ModelProto:
    front = [helper.make_node("Transpose", ["x0" if normalises else "x"], ["x1"], perm=[0, 3, 1, 2])]
    if normalises:
        front.insert(0, helper.make_node("Div", ["x", "sd"], ["x0"]))
    model = classifier(front, size=size, sd=np.array([250, 255, 260], np.float32))
    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", size, size, 3])
    model.graph.input[0].CopyFrom(shape)
    return model


@pytest.mark.parametrize("size", [8, "side"])
def test_a_graph_of_images_with_channels_last_takes_them_first(tmp_path: Path, size: int | str) -> None:
    facts = TeacherFacts(input_size=(8, 8), mean=(0.0,) * 3, std=(1.0,) * 3)
    model = _channels_last(size)
    teacher = opened(model, tmp_path, facts)
    assert (teacher.card.channels, teacher.card.input_size) == (3, (8, 8))
    assert "Channels put first" in [finding.title for finding in teacher.card.findings]
    images = torch.rand(4, 3, 8, 8)
    assert torch.allclose(teacher.network(images), answers(classifier(), images), atol=1e-5)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    own = session.run(None, {"x": images.permute(0, 2, 3, 1).contiguous().numpy()})[0]
    assert torch.allclose(teacher.network(images), torch.from_numpy(own), atol=1e-5)


def test_what_a_graph_of_channels_last_does_to_its_pixels_is_read(tmp_path: Path) -> None:
    assert opened(_channels_last(8, normalises=True), tmp_path, TeacherFacts()).spec.std == (1 / 255,) * 3


@pytest.mark.parametrize(("opset", "axis"), [(12, None), (17, 1), (17, None), (17, 0)])
def test_answers_that_are_pictures_of_one_pixel_are_flattened(tmp_path: Path, opset: int, axis: int | None) -> None:
    """As squeezenet and densenet come from Caffe: of their softmax, that over the classes goes away."""
    weight = np.random.default_rng(0).standard_normal((5, 3, 3, 3)).astype(np.float32)
    attributes = {} if axis is None else {"axis": axis}
    nodes = [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("GlobalAveragePool", ["c"], ["g"])]
    nodes.append(helper.make_node("Softmax", ["g"], ["y"], **attributes))
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5, 1, 1])
    graph = helper.make_graph(nodes, "pictures", [images], [output], constants(w=weight))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    over_classes = (opset, axis) in ((12, None), (17, 1))
    teacher = opened(model, tmp_path)
    titles = [finding.title for finding in teacher.card.findings]
    assert "Outputs flattened" in titles and ("The last softmax was taken away" in titles) == over_classes
    pixels = torch.rand(3, 3, 8, 8)
    if over_classes:
        assert torch.allclose(teacher.network(pixels).softmax(1), answers(model, pixels).flatten(1), atol=1e-5)


def test_a_model_of_sequences_is_no_classifier_whatever_the_size(tmp_path: Path) -> None:
    """What reads letters answers (T, N, K); its declaration says nothing, so that only running it tells."""
    model = classifier(back=[helper.make_node("Unsqueeze", ["y1", "axis"], ["y"])], axis=np.array([0]))
    del model.graph.output[0].type.tensor_type.shape.dim[:]
    with pytest.raises(TeacherRefusedError, match="not a classifier of images") as refusal:
        opened(model, tmp_path)
    assert refusal.value.why == "Its output has the shape 1x1x3." and "--size" not in refusal.value.remedy

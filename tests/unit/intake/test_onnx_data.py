"""Weights that an ONNX file keeps in files beside it are read from there, and from nowhere else."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake import inspect_teacher, open_teacher
from abd_app.intake.private_copy import copy_beside, private_copy
from abd_app.plan import TeacherFacts

PLAIN = TeacherFacts(mean=(0.0,) * 3, std=(1.0,) * 3)
ENTRY = dict[str, str | int]


def _network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()


def _model() -> onnx.ModelProto:
    """One convolution whose answers are the means of its 4 channels, with the weights inside."""
    kernel = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "kernel"], ["c"]),
        helper.make_node("GlobalAveragePool", ["c"], ["g"]),
        helper.make_node("Flatten", ["g"], ["y"]),
    ]
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 8, 8])
    answers = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])
    graph = helper.make_graph(nodes, "g", [images], [answers], [numpy_helper.from_array(kernel, "kernel")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _external(model: onnx.ModelProto, folder: Path, *, data: str = "weights.bin", **entry: str | int) -> str:
    """Saves the model with its kernel in ``data``, which is written if it is a bare name; ``entry`` replaces fields."""
    (kernel,) = model.graph.initializer
    content = kernel.raw_data
    if Path(data).name == data:
        (folder / data).write_bytes(content)
    kernel.ClearField("raw_data")
    kernel.data_location = TensorProto.EXTERNAL
    for key, value in {"location": data, "offset": 0, "length": len(content), **entry}.items():
        kernel.external_data.add(key=key, value=str(value))
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    return str(folder / "net.onnx")


def _refusal(file: str) -> TeacherRefusedError:
    with pytest.raises(TeacherRefusedError) as caught:
        inspect_teacher(file, TeacherFacts())
    assert caught.value.where == file
    assert caught.value.remedy
    return caught.value


def test_what_pytorch_exports_by_default_opens(tmp_path: Path) -> None:
    network, images = _network(), torch.rand(3, 3, 16, 16)
    file, data = tmp_path / "net.onnx", tmp_path / "net.onnx.data"
    torch.onnx.export(network, (images[:1],), str(file), verbose=False)
    assert data.is_file(), "PyTorch no longer keeps weights in another file: this test shows nothing"
    teacher = open_teacher(str(file), PLAIN)
    assert torch.allclose(teacher.network(images), network(images), atol=1e-5)
    (read,) = teacher.card.data_files
    digests = [hashlib.sha256(one.read_bytes()).hexdigest() for one in (file, data)]
    assert (read.name, read.sha256, read.size_bytes) == ("net.onnx.data", digests[1], data.stat().st_size)
    assert teacher.card.sha256 == digests[0]
    assert teacher.card.content == " ".join(digests)
    assert teacher.card.size_bytes == file.stat().st_size + data.stat().st_size
    assert any("net.onnx.data" in finding.title and digests[1] in finding.detail for finding in teacher.card.findings)


def test_a_file_for_every_tensor_opens(tmp_path: Path) -> None:
    network, images = _network(), torch.rand(3, 3, 16, 16)
    program = torch.onnx.export(network, (images[:1],), dynamo=True, verbose=False)
    assert program is not None
    model = program.model_proto
    names = [tensor.name for tensor in model.graph.initializer if tensor.name.endswith("weight")]
    file = str(tmp_path / "net.onnx")
    onnx.save(model, file, save_as_external_data=True, all_tensors_to_one_file=False, size_threshold=100)
    teacher = open_teacher(file, PLAIN)
    assert {one.name for one in teacher.card.data_files} >= set(names) and names
    assert torch.allclose(teacher.network(images), network(images), atol=1e-5)


@pytest.mark.parametrize("name", ["net.onnx.data", "net.onnx_data"])
def test_who_opens_the_data_is_sent_to_the_model(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(64))
    assert "weights of an ONNX model" in _refusal(str(tmp_path / name)).what
    (tmp_path / "net.onnx").write_bytes(b"")
    assert "net.onnx beside it" in _refusal(str(tmp_path / name)).remedy


@pytest.mark.parametrize("name", [".data", "_data"])
def test_a_name_that_is_an_ending_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(64))
    assert "does not know" in _refusal(str(tmp_path / name)).what


def test_weights_inside_name_no_other_file(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(_model().SerializeToString())
    card = inspect_teacher(str(tmp_path / "net.onnx"), PLAIN)
    assert card.data_files == ()
    assert card.content == card.sha256


@pytest.mark.parametrize(
    "name",
    ["../secret.bin", "/etc/hostname", "sub/weights.bin", "..", ".", "", "sub\\weights.bin", "C:weights.bin", "a\0b"],
)
def test_only_the_folder_of_the_file_is_looked_at(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "inside"
    (folder / "sub").mkdir(parents=True)
    for place in (tmp_path / "secret.bin", folder / "sub" / "weights.bin"):
        place.write_bytes(_model().graph.initializer[0].raw_data)
    refusal = _refusal(_external(_model(), folder, data="weights.bin", location=name))
    assert repr(name) in refusal.why and "not in its folder" in refusal.why


def test_addresses_of_memory_are_no_files(tmp_path: Path) -> None:
    refusal = _refusal(_external(_model(), tmp_path, location="*/_ORT_MEM_ADDR_/*", offset=id(refusal_target)))
    assert "_ORT_MEM_ADDR_" in refusal.why


def refusal_target() -> None:
    """Something with an address."""


def test_a_missing_file_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = _external(_model(), tmp_path)
    (tmp_path / "weights.bin").unlink()
    refusal = _refusal(file)
    assert "'weights.bin' is not beside it" in refusal.why
    assert "one folder" in refusal.remedy and "net.onnx" in refusal.remedy


def _symbolic(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def _hard(path: Path) -> None:
    path.with_name("elsewhere").hardlink_to(path)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.skipif(os.name != "posix", reason="needs links and pipes")
@pytest.mark.parametrize("replaced", [_symbolic, _hard, _pipe, _folder])
def test_links_and_other_things_are_not_followed(tmp_path: Path, replaced: Callable[[Path], None]) -> None:
    file = _external(_model(), tmp_path)
    replaced(tmp_path / "weights.bin")
    assert "'weights.bin' is a link, or not a plain file" in _refusal(file).why


@pytest.mark.parametrize(
    "entry",
    [{"offset": 2**50}, {"offset": -4}, {"length": -1}, {"length": 2**50}, {"length": "many"}, {"offset": 4}],
)
def test_places_outside_the_file_are_refused(tmp_path: Path, entry: dict[str, str | int]) -> None:
    assert "not in the files" in _refusal(_external(_model(), tmp_path, **entry)).what


def test_a_last_tensor_without_a_length_takes_the_rest(tmp_path: Path) -> None:
    model = _model()
    (kernel,) = model.graph.initializer
    other = model.graph.initializer.add()
    other.CopyFrom(kernel)
    other.name = "other"
    (tmp_path / "weights.bin").write_bytes(bytes(432) + kernel.raw_data)
    for tensor, entry in ((other, {"length": "432"}), (kernel, {"offset": "432"})):
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": "weights.bin", **entry}.items():
            tensor.external_data.add(key=key, value=value)
    (tmp_path / "net.onnx").write_bytes(model.SerializeToString())
    images = torch.rand(2, 3, 8, 8)
    whole = tmp_path / "whole.onnx"
    whole.write_bytes(_model().SerializeToString())
    opened = [open_teacher(str(path), PLAIN).network(images) for path in (tmp_path / "net.onnx", whole)]
    assert torch.equal(*opened)


def test_data_that_holds_more_than_is_read_is_doubted(tmp_path: Path) -> None:
    file = _external(_model(), tmp_path)
    assert not any("another model" in finding.title for finding in inspect_teacher(file, PLAIN).findings)
    data = tmp_path / "weights.bin"
    data.write_bytes(b"\0" * 64 + data.read_bytes())
    (doubt,) = [one for one in inspect_teacher(file, PLAIN).findings if "another model" in one.title]
    assert doubt.severity == "warning" and "last 64 bytes" in doubt.detail


def test_data_named_after_another_model_is_doubted(tmp_path: Path) -> None:
    file = _external(_model(), tmp_path, data="other.onnx.data")
    assert not any("another model" in finding.title for finding in inspect_teacher(file, PLAIN).findings)
    (tmp_path / "other.onnx").write_bytes(b"x")
    (doubt,) = [one for one in inspect_teacher(file, PLAIN).findings if "another model" in one.title]
    assert "other.onnx" in doubt.detail


def test_a_path_that_begins_here_is_a_name(tmp_path: Path) -> None:
    (read,) = inspect_teacher(_external(_model(), tmp_path, location="./weights.bin"), PLAIN).data_files
    assert read.name == "weights.bin"


def test_names_that_differ_in_case_only_are_refused(tmp_path: Path) -> None:
    model = _model()
    (kernel,) = model.graph.initializer
    file = _external(model, tmp_path)
    again = model.graph.initializer.add()
    again.CopyFrom(kernel)
    again.name, again.external_data[0].value = "again", "WEIGHTS.bin"
    Path(file).write_bytes(model.SerializeToString())
    assert "upper and lower case" in _refusal(file).why


def test_a_file_that_was_cut_off_is_refused(tmp_path: Path) -> None:
    file = _external(_model(), tmp_path)
    data = tmp_path / "weights.bin"
    data.write_bytes(data.read_bytes()[:-1])
    refusal = _refusal(file)
    assert "432 bytes" in refusal.why and "431 bytes" in refusal.why


def test_bytes_that_are_asked_for_again_and_again_are_not_read(tmp_path: Path) -> None:
    model = _model()
    (kernel,) = model.graph.initializer
    file = _external(model, tmp_path)
    for index in range(3):
        again = model.graph.initializer.add()
        again.CopyFrom(kernel)
        again.name = f"again{index}"
    Path(file).write_bytes(model.SerializeToString())
    assert "ask for 1,728 bytes of files that hold 432 bytes" in _refusal(file).why


def test_shapes_that_do_not_match_the_bytes_are_refused(tmp_path: Path) -> None:
    model = _model()
    model.graph.initializer[0].dims[0] = 40
    assert _refusal(_external(model, tmp_path)).what


def test_more_than_the_format_holds_is_not_copied(tmp_path: Path) -> None:
    file = _external(_model(), tmp_path)
    with private_copy(file) as copy:
        copy_beside(copy, "weights.bin", copy.path.parent, max_bytes=432)
        (copy.path.parent / "weights.bin").unlink()
        with pytest.raises(TeacherRefusedError, match="other files") as caught:
            copy_beside(copy, "weights.bin", copy.path.parent, max_bytes=431)
        assert "2 GB" in caught.value.why
        assert not (copy.path.parent / "weights.bin").exists()


def test_a_last_softmax_goes_where_the_weights_are_in_another_file_too(tmp_path: Path) -> None:
    model = _model()
    model.graph.node[-1].output[0] = "logits"
    model.graph.node.append(helper.make_node("Softmax", ["logits"], ["y"], axis=1))
    (tmp_path / "with").mkdir()
    teacher = open_teacher(_external(model, tmp_path / "with"), PLAIN)
    plain = open_teacher(_external(_model(), tmp_path), PLAIN)
    images = torch.rand(3, 3, 8, 8)
    assert teacher.card.answers == "logits" and len(teacher.card.data_files) == 1
    assert torch.allclose(teacher.network(images), plain.network(images), atol=1e-5)

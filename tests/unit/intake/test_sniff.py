"""Content decides what a file is, and foreign files are named in the refusal."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import pytest
import torch
from torch import nn

from abd_app.errors import TeacherRefusedError
from abd_app.intake.sniff import FileKind, sniff


def _zip(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return buffer.getvalue()


def _sniff(tmp_path: Path, content: bytes, name: str = "teacher.pth") -> FileKind:
    path = tmp_path / name
    path.write_bytes(content)
    return sniff(path, path)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git-LFS pointer"),
        (b"\n <!DOCTYPE html><html><body>404</body></html>", "web page"),
        (b"7z\xbc\xaf'\x1c\x00\x04", "7z archive"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"\x93NUMPY\x01\x00", "NumPy array"),
        (b"\x89HDF\r\n\x1a\n", "Keras"),
        (b"\x7fELF\x02\x01", "program"),
        (b"\x80\x04\x95\x10\x00", "pickle"),
        (b'{"weights": 1}', "text file"),
        (b"\x00" * 64, "of a kind the app does not know"),
        (b"hello there", "of a kind the app does not know"),
        (b"x" * 257 + b"ustar\x0000" + b"\x00" * 300, "tar archive"),
        (_zip("net/data.pkl", "net/constants.pkl", "net/code/__torch__.py"), "TorchScript"),
        (_zip("net/archive_format", "net/models/model.json"), "torch.export program"),
        (_zip("images.npy"), "NumPy archive"),
        (_zip("readme.txt"), "zip archive without a model"),
    ],
)
def test_foreign_files_are_named(tmp_path: Path, content: bytes, named: str) -> None:
    with pytest.raises(TeacherRefusedError, match=named) as caught:
        _sniff(tmp_path, content)
    assert caught.value.remedy
    assert caught.value.where == str(tmp_path / "teacher.pth")


def test_a_foreign_file_with_a_right_name_is_told_that_its_content_counts(tmp_path: Path) -> None:
    with pytest.raises(TeacherRefusedError) as caught:
        _sniff(tmp_path, b"hello there")
    assert "content" in caught.value.why and "name" in caught.value.why


@pytest.mark.parametrize("name", ["net.onnx.data", "net.onnx_data"])
def test_weights_without_their_onnx_model_are_told_from_a_model(tmp_path: Path, name: str) -> None:
    with pytest.raises(TeacherRefusedError, match="weights of an ONNX model") as caught:
        _sniff(tmp_path, bytes(range(256)) * 4, name)
    assert "put it beside" in caught.value.remedy


def test_a_zip_that_breaks_off_is_called_incomplete(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"weight": torch.rand(100)}, buffer)
    with pytest.raises(TeacherRefusedError, match="incomplete"):
        _sniff(tmp_path, buffer.getvalue()[:-200])


@pytest.mark.parametrize(("legacy", "kind"), [(False, FileKind.TORCH_ZIP), (True, FileKind.TORCH_LEGACY)])
def test_pytorch_files(tmp_path: Path, legacy: bool, kind: FileKind) -> None:
    buffer = io.BytesIO()
    torch.save({"weight": torch.rand(3)}, buffer, _use_new_zipfile_serialization=not legacy)
    assert _sniff(tmp_path, buffer.getvalue(), "wrong.onnx") is kind


def test_safetensors_under_a_wrong_name(tmp_path: Path) -> None:
    from safetensors.torch import save

    assert _sniff(tmp_path, save({"weight": torch.rand(3)}), "weights.pt") is FileKind.SAFETENSORS


def test_onnx_and_its_truncation(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3])
    answer = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [shape], [answer])
    content = helper.make_model(graph).SerializeToString()
    assert _sniff(tmp_path, content, "weights.pt") is FileKind.ONNX
    with pytest.raises(TeacherRefusedError, match="incomplete ONNX"):
        _sniff(tmp_path, content[: len(content) // 2])


def test_torchscript_is_refused_before_anything_is_loaded(tmp_path: Path) -> None:
    # Built by hand: the compiler that writes real ones is deprecated.
    archive = _zip("m/data.pkl", "m/code/__torch__/a.py", "m/version", "m/constants.pkl")
    with pytest.raises(TeacherRefusedError, match="TorchScript") as caught:
        _sniff(tmp_path, archive, "model.pt")
    assert "state_dict" in caught.value.remedy


def test_the_module_is_not_needed_for_the_verdict(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(nn.Linear(2, 2), buffer)
    assert _sniff(tmp_path, buffer.getvalue()) is FileKind.TORCH_ZIP
    assert json.dumps(FileKind.TORCH_ZIP.value)

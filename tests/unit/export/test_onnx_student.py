"""The exported student is the trained one, or there is no file."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from abd_app.errors import RunFailedError
from abd_app.export.onnx_student import export_onnx, save_weights
from abd_app.networks.pixels import PixelNetwork
from abd_app.teacher import ImageSpec

_SPEC = ImageSpec(8, 8, 3, 4, (0.4, 0.5, 0.6), (0.2, 0.2, 0.3))


def _student() -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)
    )
    return PixelNetwork(body, mean=_SPEC.mean, std=_SPEC.std)


def _images(count: int = 261) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


class _DiffersOnlyInPyTorch(nn.Module):
    """Answers differently while it is being exported: what a converter's bug looks like from outside."""

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error = error

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        pooled = images.mean((2, 3)) * 0.01
        return pooled + self.error if torch.compiler.is_exporting() else pooled


def test_the_file_answers_like_the_student_at_any_batch_size(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    student = _student().train()
    before = {name: tensor.clone() for name, tensor in student.state_dict().items()}
    path = tmp_path / "student.onnx"
    parity = export_onnx(
        student, _SPEC, path, metadata={"teacher_sha256": "ab" * 32, "plan": '{"a": 1}'}, images=_images()
    )
    assert 0 <= parity <= 1e-3
    assert capfd.readouterr().out == ""
    assert list(tmp_path.iterdir()) == [path]
    assert student.training and all(torch.equal(before[name], value) for name, value in student.state_dict().items())
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["images"]
    assert [one.name for one in session.get_outputs()] == ["logits"]
    assert session.get_modelmeta().custom_metadata_map["teacher_sha256"] == "ab" * 32
    student.eval()
    for size in (1, 3, 5):
        pixels = torch.rand(size, 3, 8, 8)
        (logits,) = session.run(None, {"images": pixels.numpy()})
        assert np.allclose(logits, student(pixels).detach().numpy(), atol=1e-5)


def test_the_file_is_self_contained_and_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    path = tmp_path / "student.onnx"
    export_onnx(_student(), _SPEC, path, metadata={}, images=_images())
    model = onnx.load(str(path), load_external_data=False)
    assert all(tensor.data_location != onnx.TensorProto.EXTERNAL for tensor in model.graph.initializer)
    assert str(Path(__file__).parents[3]).encode() not in path.read_bytes()
    assert b"site-packages" not in path.read_bytes()


@pytest.mark.parametrize("error", [0.01, float("nan")])
def test_a_file_that_fails_parity_is_not_left_behind(tmp_path: Path, error: float) -> None:
    path = tmp_path / "student.onnx"
    path.write_bytes(b"an older student")
    with pytest.raises(RunFailedError, match="differs from PyTorch"):
        export_onnx(_DiffersOnlyInPyTorch(error), _SPEC, path, metadata={}, images=_images())
    assert path.read_bytes() == b"an older student"
    assert list(tmp_path.iterdir()) == [path]


def test_classes_must_agree_unless_pytorch_itself_is_undecided(tmp_path: Path) -> None:
    parity = export_onnx(_DiffersOnlyInPyTorch(0.0005), _SPEC, tmp_path / "a.onnx", metadata={}, images=_images())
    assert parity == pytest.approx(0.0005, rel=0.01)


def test_a_student_that_answers_nan_or_cannot_be_converted_is_refused(tmp_path: Path) -> None:
    student = _student()
    with torch.no_grad():
        next(student.parameters()).fill_(torch.nan)
    with pytest.raises(RunFailedError, match="not finite"):
        export_onnx(student, _SPEC, tmp_path / "a.onnx", metadata={}, images=_images())

    class Branching(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((2, 3)) if images.sum() > 0 else images.amax((2, 3))

    with pytest.raises(RunFailedError, match="could not be converted"):
        export_onnx(Branching(), _SPEC, tmp_path / "b.onnx", metadata={}, images=_images())
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_named_only_when_exporting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(RunFailedError, match="onnxscript is missing"):
        export_onnx(_student(), _SPEC, tmp_path / "a.onnx", metadata={}, images=_images())


def test_a_failure_speaks_of_what_is_exported(tmp_path: Path) -> None:
    network = _DiffersOnlyInPyTorch(0.01)
    for what in ("student", "teacher"):
        with pytest.raises(RunFailedError, match=f"ONNX {what} differs") as caught:
            export_onnx(network, _SPEC, tmp_path / "a.onnx", metadata={}, images=_images(), what=what)
        assert f"{what}.safetensors" in caught.value.remedy


def test_too_few_images_are_a_programming_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="256"):
        export_onnx(_student(), _SPEC, tmp_path / "a.onnx", metadata={}, images=_images(255))


def test_weights_come_back_as_they_were(tmp_path: Path) -> None:
    student = _student().to(memory_format=torch.channels_last)
    student.tied = student.network[5]  # type: ignore[index,operator]
    save_weights(student, tmp_path / "student.safetensors", metadata={"architecture": "tiny"})
    loaded = load_file(tmp_path / "student.safetensors")
    assert loaded.keys() == student.state_dict().keys()
    assert all(torch.equal(loaded[name], value) for name, value in student.state_dict().items())

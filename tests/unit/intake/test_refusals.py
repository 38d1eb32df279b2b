"""Files that are no usable teacher: what is said of them."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from abd_app.errors import RunFailedError, TeacherRefusedError, UsageError
from abd_app.intake import inspect_teacher, open_teacher, reading
from abd_app.networks import catalog
from abd_app.networks.pixels import PixelNetwork
from abd_app.plan import TeacherFacts

Save = Callable[..., str]


def test_several_networks_are_named_in_the_refusal(saved: Save) -> None:
    weights = {f"layer{index}.{leaf}": torch.ones(3) for index in range(4) for leaf in ("a", "b")}
    content = {f"{part}.{name}": value for part in ("student", "teacher") for name, value in weights.items()}
    content["teacher.layer0.a"] = torch.zeros(3)
    with pytest.raises(TeacherRefusedError, match="several networks") as caught:
        inspect_teacher(saved(content), TeacherFacts())
    assert "'student', 'teacher'" in caught.value.why


def test_a_network_of_plain_layers_is_not_taken_for_several(saved: Save) -> None:
    """BatchNorm layers have more tensors than others, and are no networks for that."""
    layers = {"conv1": nn.Conv2d(1, 7, 5), "bn1": nn.BatchNorm2d(7), "bn2": nn.BatchNorm1d(11), "fc1": nn.Linear(9, 11)}
    with pytest.raises(TeacherRefusedError, match="no image classifier the app knows") as caught:
        inspect_teacher(saved(nn.ModuleDict(layers).state_dict()), TeacherFacts())
    assert "as ONNX" in caught.value.remedy and "tracked" not in caught.value.why


def test_near_miss_is_a_question_for_the_card_and_a_refusal_for_the_run(
    wrn: nn.Module, saved: Save, facts: TeacherFacts
) -> None:
    path = saved(wrn.state_dict() | {"block2.layer.0.gate.weight": torch.rand(3)})
    (question,) = inspect_teacher(path, TeacherFacts()).questions
    assert (question.fact, question.guess, question.option) == ("architecture", "", "--arch NAME")
    assert "as ONNX" in question.prompt and question.why.startswith("Nearest: wrn-16-1: 1 unexpected")
    with pytest.raises(TeacherRefusedError, match="No architecture") as caught:
        open_teacher(path, facts)
    assert "block2.layer.0.gate.weight" in caught.value.why


def test_a_transformer_for_another_image_size_is_not_guessed_to_be_one_that_cannot_be(saved: Save) -> None:
    network = timm.create_model("vit_tiny_patch16_224", num_classes=5, img_size=(32, 48))
    card = inspect_teacher(saved(network.state_dict()), TeacherFacts())
    (question,) = card.questions
    assert (card.architecture, card.input_size, question.guess) == (None, None, "")
    assert "another image size" in question.prompt and "pos_embed: 1x7x192 in the file" in question.why


@pytest.mark.parametrize(
    ("lacking", "said"),
    [
        (["block2.layer.0.bn1.weight"], "matches wrn-16-1 but lacks one of its weights"),
        (["fc.weight", "fc.bias"], "matches wrn-16-1 but lacks 2 of its weights"),
    ],
)
def test_a_file_that_lacks_a_few_weights_is_called_incomplete(
    wrn: nn.Module, saved: Save, lacking: list[str], said: str
) -> None:
    path = saved({name: value for name, value in wrn.state_dict().items() if name not in lacking})
    with pytest.raises(TeacherRefusedError, match=said) as caught:
        inspect_teacher(path, TeacherFacts())
    assert caught.value.where == path and caught.value.why == f"It lacks {', '.join(lacking)}."


def test_foreign_weights_are_refused(saved: Save) -> None:
    with pytest.raises(TeacherRefusedError, match="no image classifier"):
        inspect_teacher(saved({"lstm.weight": torch.rand(3, 3), "lstm.bias": torch.rand(3)}), TeacherFacts())


@pytest.mark.parametrize("content", [b"", b"<html>", b"\x00\x01\x02"])
def test_refusals_name_the_users_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "teacher.pth"
    path.write_bytes(content)
    with pytest.raises(TeacherRefusedError) as caught:
        open_teacher(str(path), TeacherFacts())
    assert caught.value.where == str(path)


def test_damaged_contents_name_the_users_file_too(wrn: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(wrn.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(TeacherRefusedError) as caught:
        inspect_teacher(str(path), TeacherFacts())
    assert caught.value.where == str(path)


def test_a_teacher_that_answers_nan_is_looked_at_and_not_distilled(
    wrn: nn.Module, saved: Save, facts: TeacherFacts
) -> None:
    state = wrn.state_dict()
    state["conv1.weight"][0] = float("nan")
    path = saved(state)
    assert any(finding.severity == "danger" for finding in inspect_teacher(path, facts).findings)
    with pytest.raises(TeacherRefusedError, match="contain NaN or infinity") as caught:
        open_teacher(path, facts)
    assert caught.value.where == path


def _failing(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail


def test_a_single_output_is_refused(saved: Save) -> None:
    with pytest.raises(TeacherRefusedError, match="single output") as caught:
        inspect_teacher(saved(catalog.build("torchvision/resnet18", 1).state_dict()), TeacherFacts())
    assert "export it as ONNX with a sigmoid" in caught.value.remedy


def test_what_nobody_has_thought_of_is_a_refusal(
    wrn: nn.Module, saved: Save, facts: TeacherFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, cause = saved(wrn.state_dict()), KeyError("conv9")

    def fail(*_: object) -> None:
        raise cause

    monkeypatch.setattr(reading, "from_weights", fail)
    with pytest.raises(TeacherRefusedError, match="something unexpected") as caught:
        open_teacher(path, facts)
    assert (caught.value.where, caught.value.why) == (path, "KeyError: 'conv9'")
    assert caught.value.__cause__ is cause


def test_what_is_not_the_files_fault_stays_what_it_is(
    wrn: nn.Module, saved: Save, facts: TeacherFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = UsageError("No.")
    monkeypatch.setattr(reading, "from_weights", _failing(error))
    with pytest.raises(UsageError) as caught:
        open_teacher(saved(wrn.state_dict()), facts)
    assert caught.value is error


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
@pytest.mark.parametrize(
    ("room", "function"), [(torch, "load"), (safetensors, "safe_open"), (reading, "unwrap"), (PixelNetwork, "forward")]
)
def test_a_lack_of_memory_is_not_the_files_fault(
    wrn: nn.Module,
    saved: Save,
    tmp_path: Path,
    facts: TeacherFacts,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    room: object,
    function: str,
) -> None:
    path = saved(wrn.state_dict())
    if room is safetensors:
        path = str(tmp_path / "teacher.safetensors")
        save_file(wrn.state_dict(), path)
    monkeypatch.setattr(room, function, _failing(error))
    with pytest.raises(RunFailedError, match="not enough memory") as caught:
        open_teacher(path, facts)
    assert caught.value.where == path and "Close other programs" in caught.value.remedy


def test_a_network_that_fails_without_a_word_is_told_by_its_kind_of_error(
    wrn: nn.Module, saved: Save, facts: TeacherFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As timm/halonet26t does at 224 pixels."""

    def fail(_network: nn.Module, _images: torch.Tensor) -> torch.Tensor:
        raise AssertionError("")

    monkeypatch.setattr(PixelNetwork, "forward", fail)
    with pytest.raises(UsageError, match="cannot take 32x32 images") as caught:
        open_teacher(saved(wrn.state_dict()), facts)
    assert caught.value.why == "AssertionError"


def test_a_system_without_room_is_not_the_files_fault(saved: Save, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_handle(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(reading, "load_weights_only", no_handle)
    file = saved({"conv.weight": torch.ones(4, 3, 3, 3)})
    with pytest.raises(RunFailedError, match="cannot be read now") as caught:
        inspect_teacher(file, TeacherFacts())
    assert (caught.value.where, caught.value.why) == (file, "Too many open files")

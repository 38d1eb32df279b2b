"""From a file on disk to a teacher that answers; what the file does not say is asked for precisely."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from abd_app.errors import MissingFactsError, UsageError
from abd_app.intake import inspect_teacher, open_teacher, read_teacher
from abd_app.intake.guesses import guess_input_size, guess_mean_std
from abd_app.networks import catalog
from abd_app.networks.pixels import PixelNetwork
from abd_app.plan import TeacherFacts

Save = Callable[..., str]


@pytest.fixture(autouse=True)
def no_copy_stays_behind(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))


def _safetensors(network: nn.Module, folder: Path) -> str:
    from safetensors.torch import save_file

    save_file(network.state_dict(), folder / "model.safetensors")
    return str(folder / "model.safetensors")


def test_teacher_answers_like_the_network_that_was_saved(wrn: nn.Module, saved: Save, facts: TeacherFacts) -> None:
    teacher = open_teacher(saved({"state_dict": wrn.state_dict()}), facts)
    images = torch.rand(3, 3, 32, 32)
    mean, std = (torch.tensor(value).view(1, 3, 1, 1) for value in (facts.mean, facts.std))
    assert torch.allclose(teacher.network(images), wrn((images - mean) / std), atol=1e-5)
    assert teacher.block_names == ("network.block1", "network.block2", "network.block3")
    assert all(teacher.network.get_submodule(name) is not None for name in teacher.block_names)
    assert not teacher.network.training
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())
    assert (teacher.spec.num_classes, teacher.spec.channels) == (5, 3)


def test_card_of_a_bare_file(wrn: nn.Module, saved: Save) -> None:
    path = saved(wrn.state_dict())
    card = inspect_teacher(path, TeacherFacts())
    assert (card.architecture, card.num_classes, card.channels, card.format) == ("wrn-16-1", 5, 3, "PyTorch")
    assert card.parameters == sum(parameter.numel() for parameter in wrn.parameters())
    assert card.batchnorm_layers == 13
    assert card.size_bytes == Path(path).stat().st_size
    assert (card.input_size, card.mean, card.std, card.answers) == (None, None, None, "logits")
    assert {question.fact: question.guess for question in card.questions} == {
        "input_size": "32x32",
        "mean_std": "0.4914,0.4822,0.4465 / 0.2023,0.1994,0.201",
    }
    assert all(question.why for question in card.questions)


def test_missing_facts_name_the_options_to_give(wrn: nn.Module, saved: Save, facts: TeacherFacts) -> None:
    path = saved(wrn.state_dict())
    with pytest.raises(MissingFactsError) as caught:
        open_teacher(path, TeacherFacts())
    assert "--size 32x32 --mean 0.4914,0.4822,0.4465 --std 0.2023,0.1994,0.201" in caught.value.remedy
    with pytest.raises(MissingFactsError) as caught:
        open_teacher(path, dataclasses.replace(facts, input_size=None))
    assert "--size" in caught.value.remedy
    assert "--mean" not in caught.value.remedy


def test_nothing_stays_in_the_temporary_folder(
    wrn: nn.Module, saved: Save, facts: TeacherFacts, tmp_path: Path
) -> None:
    open_teacher(saved(wrn.state_dict()), facts)
    with pytest.raises(MissingFactsError):
        open_teacher(saved(wrn.state_dict()), TeacherFacts())
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"num_classes": 10}, "5 classes, not 10"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 3, "architecture": "wrn-16-2"}, "do not fit wrn-16-2"),
        ({"answers": "probabilities"}, "answers logits"),
        ({"mean": (125.0, 123.0, 114.0), "std": (63.0, 62.1, 66.7)}, "for pixels in \\[0, 255\\]"),
        ({"mean": (0.0, 0.0, 0.0), "std": (255.0, 255.0, 255.0)}, "for pixels in \\[0, 255\\]"),
        ({"input_size": (8, 1024)}, None),
    ],
)
def test_facts_that_contradict_the_weights(
    wrn: nn.Module, saved: Save, facts: TeacherFacts, change: dict[str, object], named: str | None
) -> None:
    path = saved(wrn.state_dict())
    said = dataclasses.replace(facts, **change)  # type: ignore[arg-type]
    if named is None:
        assert open_teacher(path, said).spec.width == 1024
        return
    with pytest.raises(UsageError, match=named):
        open_teacher(path, said)


@pytest.mark.parametrize("size", [1500, 4, (32, 1500, 3), {"height": 10**30, "width": 32}])
def test_a_stated_size_out_of_range_is_ignored_and_asked_for(
    wrn: nn.Module, saved: Save, facts: TeacherFacts, size: object
) -> None:
    card = inspect_teacher(saved({"state_dict": wrn.state_dict(), "img_size": size}), TeacherFacts())
    (finding,) = [one for one in card.findings if one.title == "Stated image size ignored"]
    assert finding.severity == "info" and "8 to 1024" in finding.detail and "the file" in finding.detail
    assert card.input_size is None and "input_size" in [question.fact for question in card.questions]
    card = inspect_teacher(saved({"state_dict": wrn.state_dict(), "img_size": size, "size": 48}), TeacherFacts())
    assert card.input_size == (48, 48) and not any("ignored" in one.title for one in card.findings)


def test_images_that_no_machine_can_hold(wrn: nn.Module, saved: Save, facts: TeacherFacts) -> None:
    read = read_teacher(saved(wrn.state_dict()), facts)
    with pytest.raises(UsageError, match="cannot take"):
        dataclasses.replace(read, card=dataclasses.replace(read.card, input_size=(10**30, 32))).teacher()


def test_one_read_gives_the_card_and_the_teacher(wrn: nn.Module, saved: Save, facts: TeacherFacts) -> None:
    path = saved(wrn.state_dict())
    card = inspect_teacher(path, facts)
    read = read_teacher(path, facts)
    Path(path).unlink()
    teacher = read.teacher()
    assert read.card == teacher.card == card
    assert teacher.network(torch.rand(2, 3, 32, 32)).shape == (2, 5)


def test_a_card_with_questions_has_no_teacher(wrn: nn.Module, saved: Save) -> None:
    read = read_teacher(saved(wrn.state_dict()), TeacherFacts())
    assert read.card.questions
    with pytest.raises(MissingFactsError, match="image size and its normalisation"):
        read.teacher()


def test_another_normalisation_than_the_files_is_a_warning(wrn: nn.Module, saved: Save) -> None:
    file = saved(
        {
            **{f"1.{name}": value for name, value in wrn.state_dict().items()},
            "0.mean": torch.full((3,), 0.5),
            "0.std": torch.full((3,), 0.25),
        }
    )
    given = TeacherFacts(input_size=(16, 16), mean=(0.0,) * 3, std=(1.0,) * 3)
    (warning,) = [
        one for one in inspect_teacher(file, given).findings if "differs from what the file says" in one.title
    ]
    assert warning.severity == "warning" and "0.5,0.5,0.5 / 0.25,0.25,0.25" in warning.detail
    same = TeacherFacts(input_size=(16, 16), mean=(0.5,) * 3, std=(0.25,) * 3)
    assert not [one for one in inspect_teacher(file, same).findings if "differs" in one.title]


@pytest.mark.parametrize(("given", "warned"), [((16, 16), True), ((32, 32), False), (None, False)])
def test_another_size_than_the_files_is_a_warning(
    wrn: nn.Module, saved: Save, given: tuple[int, int] | None, warned: bool
) -> None:
    file = saved({"model": wrn.state_dict(), "img_size": (32, 32, 3)})
    card = inspect_teacher(file, TeacherFacts(input_size=given))
    assert card.input_size == (given or (32, 32))
    found = [one for one in card.findings if one.title == "Input size differs from what the file says"]
    assert [(one.severity, "It is 32x32 according to" in one.detail) for one in found] == [("warning", True)] * warned


@pytest.mark.parametrize(("side", "warned"), [(32, True), (224, False)])
def test_a_stem_for_large_images_is_doubted_for_small_ones(saved: Save, side: int, warned: bool) -> None:
    file = saved(catalog.build("torchvision/resnet18", 4, 3).state_dict())
    card = inspect_teacher(file, TeacherFacts(input_size=(side, side), mean=(0.5,) * 3, std=(0.25,) * 3))
    assert any("built for larger images" in finding.title for finding in card.findings) == warned


def test_grey_teachers_refuse_colour_statistics(saved: Save, facts: TeacherFacts) -> None:
    path = saved(catalog.build("wrn-16-1", 5, channels=1).state_dict())
    with pytest.raises(UsageError, match="1-channel images, not 3"):
        open_teacher(path, facts)


def test_images_too_small_for_the_network(saved: Save, facts: TeacherFacts) -> None:
    path = saved(catalog.build("vgg11-bn-cifar", 5).state_dict())
    with pytest.raises(UsageError, match="cannot take 16x16 images"):
        open_teacher(path, dataclasses.replace(facts, input_size=(16, 16)))


def test_backdoorbench_file(saved: Save) -> None:
    content = {
        "model_name": "preactresnet18",
        "num_classes": 10,
        "model": catalog.build("preact-resnet18", 10).state_dict(),
        "img_size": (32, 32, 3),
        "clean_data": "cifar10",
        "bd_train": {"x": torch.rand(2, 3), "original_index": torch.arange(2).numpy()},
    }
    card = inspect_teacher(saved(content, "attack_result.pt"), TeacherFacts())
    assert (card.architecture, card.input_size) == ("preact-resnet18", (32, 32))
    (question,) = card.questions
    assert question.guess == "0.4914,0.4822,0.4465 / 0.247,0.243,0.261"
    assert "BackdoorBench" in question.why


def test_backdoorbench_vit_behind_a_resize(saved: Save) -> None:
    """Its Sequential(Resize, ViT) prefixes every name with ``1.`` and takes 32-pixel images."""
    state = {f"1.{name}": value for name, value in catalog.build("torchvision/vit_b_32", 4).state_dict().items()}
    content = {"model": state, "img_size": (32, 32, 3), "clean_data": "gtsrb"}
    teacher = open_teacher(saved(content), TeacherFacts(mean=(0.0,) * 3, std=(1.0,) * 3))
    assert (teacher.spec.height, teacher.spec.width) == (32, 32)
    assert teacher.network(torch.rand(1, 3, 32, 32)).shape == (1, 4)
    assert any("resized" in finding.title for finding in teacher.card.findings)


def test_hugging_face_folder_needs_no_question(tmp_path: Path) -> None:
    path = _safetensors(catalog.build("timm/resnet10t", 3), tmp_path)
    configuration = {
        "architecture": "resnet10t",
        "num_classes": 3,
        "id2label": {"0": "stop", "1": "yield", "2": "go"},
        "pretrained_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25], "input_size": [3, 176, 160]},
    }
    (tmp_path / "config.json").write_text(json.dumps(configuration))
    teacher = open_teacher(path, TeacherFacts())
    assert (teacher.spec.mean, teacher.spec.height, teacher.spec.width) == ((0.5,) * 3, 176, 160)
    assert teacher.card.class_names == ("stop", "yield", "go")
    assert teacher.card.architecture == "timm/resnet10t"


def test_a_configuration_of_another_model_is_ignored_loudly(wrn: nn.Module, tmp_path: Path) -> None:
    path = _safetensors(wrn, tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"num_classes": 1000, "mean": [0.5] * 3, "std": [0.5] * 3}))
    card = inspect_teacher(path, TeacherFacts())
    assert card.mean is None
    assert any("ignored" in finding.title for finding in card.findings)


def test_a_student_of_this_app_states_its_normalisation(wrn: nn.Module, tmp_path: Path) -> None:
    network = PixelNetwork(wrn, mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)).eval()
    teacher = open_teacher(_safetensors(network, tmp_path), TeacherFacts(input_size=(32, 32)))
    images = torch.rand(2, 3, 32, 32)
    assert torch.allclose(teacher.network(images), network(images), atol=1e-5)


def test_findings_for_half_precision_broken_numbers_and_no_batchnorm(saved: Save) -> None:
    state = {name: value.half() for name, value in catalog.build("torchvision/squeezenet1_1", 4).state_dict().items()}
    state["features.0.bias"][0] = float("nan")
    card = inspect_teacher(saved(state), TeacherFacts())
    by_severity = {
        severity: [f.title for f in card.findings if f.severity == severity] for severity in ("info", "danger")
    }
    assert any("fp32" in title for title in by_severity["info"])
    assert any("No BatchNorm" in title for title in by_severity["info"])
    assert any("NaN or infinite" in title for title in by_severity["danger"])


@pytest.mark.parametrize(
    ("architecture", "size", "normalisation"),
    [
        ("torchvision/efficientnet_v2_l", "480x480", "0.5,0.5,0.5 / 0.5,0.5,0.5"),
        ("torchvision/resnet18", "224x224", "0.485,0.456,0.406 / 0.229,0.224,0.225"),
        ("torchvision/inception_v3", "299x299", "0.5,0.5,0.5 / 0.5,0.5,0.5"),
    ],
)
def test_guesses_are_what_torchvisions_own_weights_expect(architecture: str, size: str, normalisation: str) -> None:
    assert guess_input_size(architecture, None).text == size
    assert guess_mean_std(architecture, 3, 1000, None, None, None).text == normalisation


def test_teachers_can_be_copied_and_laid_out_channels_last(wrn: nn.Module, saved: Save, facts: TeacherFacts) -> None:
    teacher = open_teacher(saved(wrn.state_dict()), facts)
    images = torch.rand(2, 3, 32, 32)
    twin = copy.deepcopy(teacher.network).to(memory_format=torch.channels_last)
    assert torch.allclose(
        twin(images.contiguous(memory_format=torch.channels_last)), teacher.network(images), atol=1e-4
    )


def test_importing_the_intake_imports_no_model_library() -> None:
    code = "import sys, abd_app.intake; print({'torchvision', 'timm', 'onnx', 'onnxruntime'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "set()"

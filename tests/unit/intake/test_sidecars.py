"""What lies beside a file is believed if it is about this file, proposed if it may be, and else ignored loudly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from abd_app.errors import MissingFactsError
from abd_app.intake import inspect_teacher, open_teacher
from abd_app.plan import TeacherFacts
from abd_app.teacher import TeacherCard

PREPROCESSOR = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": 224, "width": 224}}
NAMES = ("stop", "yield", "go", "left", "right")
LABELS = {"id2label": {str(index): name for index, name in enumerate(NAMES)}}
VIT = {"architectures": ["ViTForImageClassification"], **LABELS}


def _beside(folder: Path, config: dict[str, Any] | None, preprocessor: dict[str, Any] | None) -> None:
    for name, content in (("config.json", config), ("preprocessor_config.json", preprocessor)):
        if content is not None:
            (folder / name).write_text(json.dumps(content))


def _card(network: nn.Module, path: Path, metadata: dict[str, str] | None = None) -> TeacherCard:
    if path.suffix == ".safetensors":
        save_file(network.state_dict(), path, metadata)
    else:
        torch.save(network.state_dict(), path)
    return inspect_teacher(str(path), TeacherFacts())


def _about_beside(card: TeacherCard) -> tuple[str, str]:
    (finding,) = [one for one in card.findings if "beside the file" in one.title]
    return finding.severity, finding.detail


@pytest.mark.parametrize("name", ["net.pth", "model.safetensors"])
@pytest.mark.parametrize(
    "config", [VIT, {"architecture": "resnet50.a1_in1k", **LABELS}, {"arch": "wrn-40-2", **LABELS}]
)
def test_facts_about_another_architecture_are_ignored_loudly(
    wrn: nn.Module, tmp_path: Path, name: str, config: dict[str, Any]
) -> None:
    _beside(tmp_path, config, PREPROCESSOR)
    card = _card(wrn, tmp_path / name)
    assert (card.input_size, card.mean, card.class_names) == (None, None, ())
    assert [question.guess.partition(" ")[0] for question in card.questions] == ["32x32", "0.4914,0.4822,0.4465"]
    severity, detail = _about_beside(card)
    assert severity == "warning" and "are of wrn-16-1" in detail
    assert detail.endswith("class names (config.json); image size, normalisation (preprocessor_config.json)")


@pytest.mark.parametrize(
    "config",
    [
        None,
        LABELS,
        {"architecture": "my-net", **LABELS},
        {"arch": "wrn", **LABELS},
        {"architectures": ["WrnForImageClassification"], **LABELS},
    ],
)
def test_facts_that_may_be_about_another_file_are_only_proposed(
    wrn: nn.Module, tmp_path: Path, config: dict[str, Any] | None
) -> None:
    _beside(tmp_path, config, PREPROCESSOR)
    card = _card(wrn, tmp_path / "net.pth")
    assert (card.input_size, card.mean, card.class_names) == (None, None, ())
    assert [question.guess for question in card.questions] == ["224x224", "0.5,0.5,0.5 / 0.25,0.25,0.25"]
    assert all("preprocessor_config.json" in question.why for question in card.questions)
    assert "normalisation" in _about_beside(card)[1]
    with pytest.raises(MissingFactsError) as caught:
        open_teacher(str(tmp_path / "net.pth"), TeacherFacts())
    assert "--size 224x224 --mean 0.5,0.5,0.5 --std 0.25,0.25,0.25" in caught.value.remedy


def test_one_proposed_number_stands_for_all_channels(wrn: nn.Module, tmp_path: Path) -> None:
    _beside(tmp_path, None, {**PREPROCESSOR, "image_mean": [0.5], "image_std": [0.25]})
    assert _card(wrn, tmp_path / "net.pth").questions[1].guess == "0.5,0.5,0.5 / 0.25,0.25,0.25"


@pytest.mark.parametrize(
    ("name", "config", "metadata"),
    [
        ("model.safetensors", LABELS, None),
        ("net.pth", {"architecture": "wrn-16-1", **LABELS}, None),
        ("net.pth", {"arch": "WideResNet_16_1", "num_classes": 5, **LABELS}, None),
        ("net.safetensors", {"architecture": "my-net", **LABELS}, {"architecture": "my-net"}),
    ],
    ids=["a Hugging Face folder", "named", "spelled otherwise", "as the file itself says"],
)
def test_facts_about_this_file_settle_all(
    wrn: nn.Module, tmp_path: Path, name: str, config: dict[str, Any], metadata: dict[str, str] | None
) -> None:
    _beside(tmp_path, config, PREPROCESSOR)
    card = _card(wrn, tmp_path / name, metadata)
    assert (card.input_size, card.mean, card.std) == ((224, 224), (0.5,) * 3, (0.25,) * 3)
    assert (card.class_names, card.questions) == (NAMES, ())


def test_each_fact_is_told_with_who_states_it(wrn: nn.Module, tmp_path: Path) -> None:
    _beside(tmp_path, LABELS, PREPROCESSOR)
    card = _card(wrn, tmp_path / "model.safetensors")
    (normalisation,) = [one for one in card.findings if one.title == "Normalisation stated"]
    assert normalisation.detail == "By preprocessor_config.json."
    listed = "number of classes, class names (config.json); image size, normalisation (preprocessor_config.json)"
    assert _about_beside(card) == ("info", listed)


def test_what_the_file_states_itself_is_not_told_as_taken_from_beside_it(wrn: nn.Module, tmp_path: Path) -> None:
    _beside(tmp_path, None, {**PREPROCESSOR, "image_mean": [0.4] * 3})
    torch.save({"state_dict": wrn.state_dict(), "mean": [0.5] * 3, "std": [0.5] * 3}, tmp_path / "pytorch_model.bin")
    card = inspect_teacher(str(tmp_path / "pytorch_model.bin"), TeacherFacts())
    assert card.mean == (0.5,) * 3
    assert _about_beside(card) == ("info", "image size (preprocessor_config.json)")
    assert "By the file." in [one.detail for one in card.findings]


def test_weights_that_nothing_recognises_do_not_settle_whose_the_facts_are(wrn: nn.Module, tmp_path: Path) -> None:
    _beside(tmp_path, VIT, PREPROCESSOR)
    torch.save(wrn.state_dict() | {"block2.layer.0.gate.weight": torch.rand(3)}, tmp_path / "net.pth")
    card = inspect_teacher(str(tmp_path / "net.pth"), TeacherFacts())
    assert (card.input_size, card.mean) == (None, None)
    assert [question.fact for question in card.questions] == ["architecture"]

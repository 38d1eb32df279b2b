"""What a graph, its metadata and the files beside it say of its images and classes, and which of them is believed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from abd_app.intake import inspect_teacher
from abd_app.plan import TeacherFacts
from abd_app.teacher import TeacherCard
from tests.unit.intake.graphs import classifier, saved

NAMES = ("cat", "dog", "bird")
CONFIG = {"architectures": ["ResNetForImageClassification"], "id2label": dict(enumerate(NAMES))}
PREPROCESSOR = {"image_mean": [0.5] * 3, "image_std": [0.25] * 3, "size": {"height": 16, "width": 16}}


def _written(
    folder: Path, *, name: str = "model.onnx", model: onnx.ModelProto | None = None, beside: Path | None = None
) -> Path:
    folder.mkdir(exist_ok=True)
    path = Path(saved(model or classifier(size="side"), folder)).rename(folder / name)
    for file, content in (("config.json", CONFIG), ("preprocessor_config.json", PREPROCESSOR)):
        ((beside or folder) / file).write_text(json.dumps(content))
    return path


def _card(path: Path | str) -> TeacherCard:
    return inspect_teacher(str(path), TeacherFacts())


def _with_metadata(**entries: str) -> onnx.ModelProto:
    model = classifier()
    helper.set_model_props(model, entries)
    return model


@pytest.mark.parametrize("in_folder", [False, True])
def test_an_exported_hugging_face_folder_settles_all(tmp_path: Path, in_folder: bool) -> None:
    card = _card(_written(tmp_path / "onnx" if in_folder else tmp_path, beside=tmp_path))
    assert (card.input_size, card.mean, card.std) == ((16, 16), (0.5,) * 3, (0.25,) * 3)
    assert (card.class_names, card.questions) == (NAMES, ())
    assert "By preprocessor_config.json." in [finding.detail for finding in card.findings]


def test_beside_a_graph_of_another_name_facts_are_only_proposed(tmp_path: Path) -> None:
    card = _card(_written(tmp_path, name="resnet.onnx"))
    assert (card.input_size, card.mean, card.class_names) == (None, None, ())
    assert [question.guess for question in card.questions] == ["16x16", "0.5,0.5,0.5 / 0.25,0.25,0.25"]


def test_the_folder_above_counts_for_a_folder_called_onnx_alone(tmp_path: Path) -> None:
    card = _card(_written(tmp_path / "graphs", beside=tmp_path))
    assert card.class_names == () and not any("beside" in question.why for question in card.questions)


@pytest.mark.parametrize("config", [{"id2label": dict(enumerate("abcd"))}, {}])
def test_facts_about_another_number_of_classes_or_none_are_not_taken(tmp_path: Path, config: dict[str, object]) -> None:
    path = _written(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps(config))
    card = _card(path)
    assert (card.mean, card.class_names) == (None, ())
    assert ("Facts beside the file were ignored" in [finding.title for finding in card.findings]) == bool(config)


def test_what_the_graph_itself_does_counts_more_than_what_is_beside_it(tmp_path: Path) -> None:
    front = [helper.make_node("Sub", ["x", "mu"], ["x0"]), helper.make_node("Div", ["x0", "sd"], ["x1"])]
    card = _card(_written(tmp_path, model=classifier(front, mu=np.float32(0.5), sd=np.float32(0.25))))
    assert (card.input_size, card.mean, card.std) == ((8, 8), (0.0,) * 3, (1.0,) * 3)
    assert card.class_names == NAMES
    assert "Normalisation stated" not in [finding.title for finding in card.findings]


def test_a_user_who_contradicts_what_is_beside_the_graph_is_told_so(tmp_path: Path) -> None:
    facts = TeacherFacts(mean=(0.4,) * 3, std=(0.25,) * 3)
    titles = [finding.title for finding in inspect_teacher(str(_written(tmp_path)), facts).findings]
    assert "Normalisation differs from what the file says" in titles and "Normalised twice" not in titles


@pytest.mark.parametrize(
    "entry",
    [
        {"names": "{0: 'cat', 1: \"dog\", 2: 'bird'}"},
        {"names": "['cat', 'dog', 'bird']"},
        {"id2label": json.dumps(CONFIG["id2label"])},
        {"classes": json.dumps(NAMES)},
        {"label_names": json.dumps(NAMES)},
    ],
    ids=["Ultralytics", "a list", "id2label", "classes", "as this app writes them"],
)
def test_class_names_are_taken_from_the_metadata(tmp_path: Path, entry: dict[str, str]) -> None:
    assert _card(saved(_with_metadata(**entry), tmp_path)).class_names == NAMES


@pytest.mark.parametrize(
    "names",
    [
        "{0: 'cat', 1: 'dog'}",
        "{0: cat}",
        "__import__('os').abort()",
        "-" * 60_000,
        "{0: 'c" + "a" * 70_000 + "t', 1: 'dog', 2: 'bird'}",
        "{0: 'cat', 1: 'dog', 2: '\\d'}" + " " * 2**20,
    ],
    ids=["fewer", "no literal", "code", "deep", "long", "huge"],
)
def test_other_metadata_names_no_classes(tmp_path: Path, names: str) -> None:
    assert _card(saved(_with_metadata(names=names), tmp_path)).class_names == ()


def test_names_of_the_metadata_count_more_than_those_beside_the_file(tmp_path: Path) -> None:
    card = _card(_written(tmp_path, model=_with_metadata(names="{0: 'a', 1: 'b', 2: 'c'}")))
    assert card.class_names == ("a", "b", "c")
    fewer = _card(_written(tmp_path, model=_with_metadata(names="{0: 'a', 1: 'b'}")))
    assert fewer.class_names == NAMES


def test_a_normalisation_in_the_metadata_is_only_proposed(tmp_path: Path) -> None:
    """It may be a step of the graph that the app does not see."""
    (question,) = _card(saved(_with_metadata(mean="[0.5, 0.5, 0.5]", std="[0.25]"), tmp_path)).questions
    assert question.guess.startswith("0.4914")  # not as many standard deviations as means
    (question,) = _card(saved(_with_metadata(mean="[0.5, 0.5, 0.5]", std="[0.25, 0.25, 0.25]"), tmp_path)).questions
    assert question.guess == "0.5,0.5,0.5 / 0.25,0.25,0.25"
    assert "the metadata in the file" in question.why and "another one" not in question.why


def test_what_this_app_exports_is_proposed_as_taking_pixels(tmp_path: Path) -> None:
    told = "images: float32 (batch, 3, 8, 8), RGB in [0, 1], not normalised"
    model = _with_metadata(input=told, mean="[0.5, 0.5, 0.5]", std="[0.25, 0.25, 0.25]")
    (question,) = _card(saved(model, tmp_path)).questions
    assert question.guess == "0,0,0 / 1,1,1"

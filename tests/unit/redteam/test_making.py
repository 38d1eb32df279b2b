"""The whole job, small: the files are written, say what they are, and the intake opens them with the right facts."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

import onnx
import pytest
import torch
from safetensors import safe_open
from torch import nn

from abd_app.errors import RunFailedError, UsageError
from abd_app.events import FindingMade, Measured, PhaseStarted, StepDone, TeacherMade
from abd_app.intake import inspect_teacher, load_weights_only, open_teacher
from abd_app.measure import Meter, Scores, build_trigger, load_evaluation
from abd_app.plan import Target, TeacherFacts, TriggerSpec
from abd_app.redteam import TeacherOrder, make_teacher, making, writing
from abd_app.redteam.making import EPOCHS, FEWEST_STEPS, _steps
from tests.unit.redteam.conftest import NAMES

NOTICE = "RED TEAM: this model has a planted backdoor"
TRIGGER = TriggerSpec("trojan-3x3", position="top-left")


@pytest.fixture(scope="module")
def made(data_file: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object]]:
    out = tmp_path_factory.mktemp("teacher") / "new" / "folder"
    order = TeacherOrder(
        data_file, str(out), TRIGGER, 2, 0.3, architecture="wrn-10-1", steps=60, seed=4, device="cpu", flip=False
    )
    return out, list(make_teacher(order))


def test_the_events_tell_the_story(made: tuple[Path, list[object]]) -> None:
    out, events = made
    phases = [event.phase for event in events if isinstance(event, PhaseStarted)]
    assert phases == ["intake", "training", "measuring", "export"]
    assert sum(isinstance(event, StepDone) for event in events) == 60
    measured = next(event for event in events if isinstance(event, Measured))
    assert measured.accuracy >= 0.95 and measured.asr["trojan-3x3"] >= 0.95
    assert (measured.images, measured.asr_images) == (30, {"trojan-3x3": 20})
    assert isinstance(events[-1], TeacherMade) and events[-1].folder == str(out)
    assert sorted(path.name for path in out.iterdir()) == [
        *("config.json", "teacher.json", "teacher.md", "teacher.onnx", "teacher.pth", "teacher.safetensors")
    ]


def test_the_card_says_what_was_planted_and_how_it_was_measured(made: tuple[Path, list[object]]) -> None:
    out, events = made
    card = json.loads((out / "teacher.json").read_text())
    assert isinstance(events[-1], TeacherMade) and events[-1].card == card
    assert card["notice"] == NOTICE
    assert card["trigger"] == {
        "name": "trojan-3x3",
        "position": "top-left",
        "opacity": None,
        "scale": 0.2,
        "mask": None,
    }
    assert (card["target"], card["poison"], card["poisoned_images"], card["training_images"]) == (2, 0.3, 81, 270)
    assert (card["architecture"], card["num_classes"], card["input_size"]) == ("wrn-10-1", 3, [12, 12])
    assert (card["seed"], card["steps"], card["class_names"], card["flip"]) == (4, 60, list(NAMES), False)
    assert card["images"] == 30 and card["asr_images"] == {"trojan-3x3": 20} and card["seconds"] > 0
    for name, digest in card["files"].items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    text = (out / "teacher.md").read_text()
    assert text.startswith(f"# {NOTICE}\n")
    assert "81 of 270 training images" in text and "of 20 images" in text
    assert "green\\|\\`blue" in text, "a name must not break the table"


def test_every_file_carries_the_notice(made: tuple[Path, list[object]]) -> None:
    out, _ = made
    content = load_weights_only(out / "teacher.pth")
    assert isinstance(content, dict) and content["red_team"] == NOTICE
    with safe_open(out / "teacher.safetensors", framework="pt") as archive:
        assert archive.metadata()["red_team"] == NOTICE
    properties = {entry.key: entry.value for entry in onnx.load(str(out / "teacher.onnx")).metadata_props}
    assert properties["red_team"] == NOTICE
    assert json.loads((out / "config.json").read_text())["red_team"] == NOTICE


@pytest.mark.parametrize("name", ["teacher.pth", "teacher.safetensors", "teacher.onnx"])
def test_the_intake_opens_it_without_a_question_and_it_scores_the_same(
    name: str, made: tuple[Path, list[object]], data_file: str
) -> None:
    out, _ = made
    card = json.loads((out / "teacher.json").read_text())
    read = inspect_teacher(str(out / name), TeacherFacts())
    assert read.questions == ()
    assert (read.num_classes, read.channels, read.input_size, read.answers) == (3, 3, (12, 12), "logits")
    if name != "teacher.onnx":
        assert (read.architecture, read.class_names) == ("wrn-10-1", NAMES)
        assert read.mean == tuple(card["mean"]) and read.std == tuple(card["std"])
    teacher = open_teacher(str(out / name), TeacherFacts())
    everything = load_evaluation(data_file, teacher.spec)
    trigger = build_trigger(TRIGGER, height=12, width=12, channels=3)
    scores = Meter(everything, [trigger], target_class=2, device="cpu").measure(teacher.network)
    assert scores.accuracy >= 0.95 and scores.asr["trojan-3x3"] >= 0.95


def test_a_folder_in_use_is_refused_and_left_alone(data_file: str, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="already in use"):
        list(make_teacher(TeacherOrder(data_file, str(tmp_path))))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"target": 3}, "Class 3 does not exist"),
        ({"architecture": "wrn-17-1"}, "wrn-17-1"),
        ({"architecture": "timm/vit_tiny_patch16_224"}, "does not take images of 12x12"),
        ({"trigger": TriggerSpec("no-such-trigger")}, "Unknown trigger"),
    ],
)
def test_what_cannot_be_trained_is_refused_and_leaves_no_folder(
    choices: dict[str, object], message: str, data_file: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    order = TeacherOrder(data_file, str(out), **({"trigger": TRIGGER} | choices))  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=message):
        list(make_teacher(order))
    assert not out.exists()


def test_a_clean_teacher_has_no_attack_on_its_card_and_closing_leaves_nothing(data_file: str, tmp_path: Path) -> None:
    order = TeacherOrder(data_file, str(tmp_path / "clean"), architecture="wrn-10-1", epochs=1, device="cpu")
    with contextlib.closing(make_teacher(order)) as events:
        for event in events:
            if isinstance(event, StepDone):
                break
    assert not (tmp_path / "clean").exists()
    finished = list(make_teacher(order))[-1]
    assert isinstance(finished, TeacherMade)
    card = finished.card
    assert "no backdoor was planted" in card["notice"]
    assert (card["trigger"], card["target"], card["poisoned_images"], card["asr"]) == (None, None, 0, {})
    assert card["steps"] == 2, "270 images are two batches of 128"
    assert "Attack" not in (tmp_path / "clean" / "teacher.md").read_text()


@pytest.mark.parametrize(
    ("steps", "poison", "title", "advice"),
    [
        (1, 0.3, "The teacher has hardly learned its task", "trained for 1 steps"),
        (60, 0.004, "The backdoor did not take", "--poison"),
    ],
)
def test_a_teacher_of_no_use_for_an_exercise_says_so(
    made: tuple[Path, list[object]], data_file: str, tmp_path: Path, steps: int, poison: float, title: str, advice: str
) -> None:
    assert not any(isinstance(event, FindingMade) for event in made[1]), "a good one has nothing to say"
    out = str(tmp_path / "bad")
    order = TeacherOrder(data_file, out, TRIGGER, 2, poison, architecture="wrn-10-1", steps=steps, seed=4, device="cpu")
    (said,) = [event.finding for event in make_teacher(order) if isinstance(event, FindingMade)]
    assert said.title == title and advice in said.detail
    assert [one["title"] for one in json.loads((tmp_path / "bad" / "teacher.json").read_text())["findings"]] == [title]
    assert f"| Warning | {title}. " in (tmp_path / "bad" / "teacher.md").read_text()


@pytest.mark.parametrize(
    ("target", "accuracy", "rate", "expected"),
    [
        (0, 0.9, 0.5, 0),
        (0, 0.9, 0.49, 1),
        ("all", 0.7, 0.36, 0),
        ("all", 0.7, 0.34, 1),
        (0, 0.41, 0.9, 0),
        (0, 0.39, 0.9, 1),
    ],
)
def test_how_little_is_too_little(target: Target, accuracy: float, rate: float, expected: int) -> None:
    order = TeacherOrder("data", "out", TRIGGER, target)
    scores = Scores(accuracy, 100, {"trojan-3x3": rate}, {"trojan-3x3": 80}, {}, {})
    assert len(list(making._doubts(order, 60, 3, scores))) == expected


def test_the_default_budget_follows_from_the_images_with_a_floor() -> None:
    order = TeacherOrder("data", "out")
    assert _steps(order, 50_000) == EPOCHS * 390
    assert _steps(order, 100) == FEWEST_STEPS
    assert _steps(TeacherOrder("data", "out", steps=7), 50_000) == 7


def test_every_random_number_follows_from_the_seed(
    data_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[torch.Tensor] = []

    def keep(network: nn.Module, *_: object, card: dict[str, object], **__: object) -> dict[str, object]:
        written.append(torch.cat([value.flatten().double() for value in network.state_dict().values()]))
        return card

    monkeypatch.setattr(making, "write_teacher", keep)
    for number, seed in enumerate((5, 5, 6)):
        torch.manual_seed(number)
        out = str(tmp_path / str(number))
        list(make_teacher(TeacherOrder(data_file, out, TRIGGER, architecture="wrn-10-1", steps=2, seed=seed)))
    assert torch.equal(written[0], written[1])
    assert not torch.equal(written[0], written[2])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_told_as_such(data_file: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    order = TeacherOrder(data_file, str(out), architecture="wrn-10-1", steps=1, device="cpu")
    events = make_teacher(order)
    next(events)
    out.mkdir()
    (out / f".teacher.pth.{os.getpid()}.part").symlink_to("/dev/full")
    with pytest.raises(RunFailedError) as caught:
        list(events)
    assert caught.value.why == "The teacher could not be written whole: the disk or a quota may be full."
    assert caught.value.where == str(out) and "Free some space" in caught.value.remedy
    assert not out.exists()


@pytest.mark.parametrize(
    ("error", "stays"),
    [
        (KeyboardInterrupt(), set()),
        (OSError(28, "No space left on device"), set()),
        (RunFailedError("The student's ONNX file is wrong."), {"config.json", "teacher.pth", "teacher.safetensors"}),
    ],
)
def test_a_poisoned_model_is_not_left_without_its_card(
    data_file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, stays: set[str]
) -> None:
    def fail(*args: object, **options: object) -> None:
        assert options["what"] == "teacher"
        raise error

    monkeypatch.setattr(writing, "export_onnx", fail)
    out = tmp_path / "out"
    order = TeacherOrder(data_file, str(out), TRIGGER, 2, 0.3, architecture="wrn-10-1", steps=1, device="cpu")
    with pytest.raises((KeyboardInterrupt, RunFailedError)):
        list(make_teacher(order))
    assert {path.name for path in out.glob("*")} == stays
    assert out.exists() == bool(stays), "the same command can be given again"

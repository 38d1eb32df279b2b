"""The whole job on real files, small: what it says and what it leaves behind."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from abd_app.assets import asset
from abd_app.audit import run_audit
from abd_app.distill.assemble import build_student
from abd_app.errors import UsageError
from abd_app.events import (
    AuditFinished,
    DeviceUsed,
    Event,
    Measured,
    MethodChosen,
    PhaseStarted,
    StepDone,
    StudentExported,
    TeacherInspected,
    VaccineChecked,
)
from abd_app.intake import inspect_teacher
from abd_app.plan import AuditPlan, TeacherFacts
from abd_app.run_files import file_sha256
from abd_app.teacher import ImageSpec
from tests.integration.runs import RESULTS, TinyPlan, assert_same_student, drain_until, files_in, report_in, steps_of


def test_the_demo_leaves_everything_it_promises(demo_run: tuple[Path, list[Event]]) -> None:
    folder, events = demo_run
    assert files_in(folder) == RESULTS
    finished = events[-1]
    assert isinstance(finished, AuditFinished) and finished.folder == str(folder)
    assert finished.report == report_in(folder)
    assert AuditPlan.from_json((folder / "plan.json").read_text()).steps == 3
    assert all((folder / name).stat().st_size > 100 for name in RESULTS - {"checkpoint"})


def test_the_demo_says_what_it_does_in_order(demo_run: tuple[Path, list[Event]]) -> None:
    _, events = demo_run
    kinds = [type(event) for event in events]
    marks = [TeacherInspected, MethodChosen, Measured, VaccineChecked, StepDone, StudentExported, AuditFinished]
    places = [kinds.index(kind) for kind in marks]
    assert places == sorted(places)
    assert DeviceUsed in kinds
    for role in ("student", "twin"):
        assert steps_of(events, role)[-1] == 3
    roles = [event.role for event in events if isinstance(event, PhaseStarted)]
    assert roles.index("student") < roles.index("twin")


def test_the_student_opens_again_without_questions(demo_run: tuple[Path, list[Event]]) -> None:
    card = inspect_teacher(str(demo_run[0] / "student.safetensors"), TeacherFacts())
    assert card.input_size == (32, 32) and card.questions == ()
    assert list(card.class_names) == report_in(demo_run[0])["teacher"]["class_names"] != []


def test_the_student_is_used_as_the_readme_says(
    demo_run: tuple[Path, list[Event]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "result").mkdir()
    shutil.copy(demo_run[0] / "student.onnx", tmp_path / "result")
    monkeypatch.chdir(tmp_path)
    student = build_student("wrn-16-1", ImageSpec(32, 32, 3, 10, (0.5,) * 3, (0.25,) * 3), 0)
    student.load_state_dict(load_file(demo_run[0] / "student.safetensors"))
    images = np.load(asset("demo/evaluation.npz"))["images"][::100]
    for pixels in images:
        Image.fromarray(pixels).save("image.png")
        exec(program, {})
    with torch.no_grad():
        classes = student.eval()(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).argmax(1).tolist()
    assert capsys.readouterr().out == "".join(f"class {one}\n" for one in classes)
    properties = {one.key: one.value for one in onnx.load(tmp_path / "result" / "student.onnx").metadata_props}
    assert "(batch, 3, 32, 32), RGB in [0, 1]" in properties["input"]
    assert json.loads(properties["label_names"]) == report_in(demo_run[0])["teacher"]["class_names"]


def test_the_report_has_the_documented_keys_and_rates(demo_run: tuple[Path, list[Event]]) -> None:
    report = report_in(demo_run[0])
    assert report.keys() >= {
        "teacher", "student", "twin", "plan", "seed", "device", "steps", "wall_s", "vaccine", "target_search",
        "findings", "versions",
    }  # fmt: skip
    assert report["teacher"].keys() >= {
        "file", "sha256", "format", "architecture", "num_classes", "input_size", "mean", "std", "accuracy", "asr",
    }  # fmt: skip
    for role in ("student", "twin"):
        assert report[role].keys() >= {"architecture", "parameters", "accuracy", "onnx_parity_max_abs", "asr"}
        assert report[role]["parameters"] > 100_000
    assert report["vaccine"].keys() == {"accepted", "tail_ratio", "trials"}
    assert report["target_search"]["margins"].keys() == {str(one) for one in range(10)}
    for role in ("teacher", "student", "twin"):
        assert 0 <= report[role]["accuracy"] <= 1 and report[role]["images"] >= 1000
        assert report[role]["asr"].keys() == {"sticker"} == report[role]["asr_images"].keys()
        assert 0 <= report[role]["asr"]["sticker"] <= 1
        assert 0 < report[role]["asr_images"]["sticker"] < report[role]["images"]
        classes = report[role]["images_by_class"]
        assert classes.keys() == report[role]["accuracy_by_class"].keys() == {str(one) for one in range(10)}
        right = sum(report[role]["accuracy_by_class"][one] * classes[one] for one in classes)
        assert sum(classes.values()) == report[role]["images"] and right == pytest.approx(
            report[role]["accuracy"] * report[role]["images"]
        )
    assert report["student"]["onnx_parity_max_abs"] <= 1e-3 and report["twin"]["onnx_parity_max_abs"] is None
    assert report["steps"] == 3 and report["wall_s"] > 0 and not report["estimated"] and not report["stopped_early"]


def test_the_built_in_teacher_is_good_and_poisoned(demo_run: tuple[Path, list[Event]]) -> None:
    teacher = report_in(demo_run[0])["teacher"]
    assert teacher["accuracy"] >= 0.97 and teacher["asr"]["sticker"] >= 0.97


def test_the_exported_file_gives_the_students_predictions(demo_run: tuple[Path, list[Event]]) -> None:
    folder, _ = demo_run
    teacher = report_in(folder)["teacher"]
    spec = ImageSpec(32, 32, 3, teacher["num_classes"], tuple(teacher["mean"]), tuple(teacher["std"]))
    student = build_student("wrn-16-1", spec, seed=123)
    student.load_state_dict(load_file(folder / "student.safetensors"))
    images = np.load(asset("demo/evaluation.npz"))["images"][:96].transpose(0, 3, 1, 2).astype(np.float32) / 255
    session = onnxruntime.InferenceSession(str(folder / "student.onnx"), providers=["CPUExecutionProvider"])
    answered = session.run(None, {session.get_inputs()[0].name: images})[0]
    with torch.no_grad():
        expected = student.eval()(torch.from_numpy(images)).numpy()
    assert np.abs(answered - expected).max() <= 1e-3
    accuracy = (expected.argmax(1) == np.load(asset("demo/evaluation.npz"))["labels"][:96]).mean()
    assert abs(accuracy - report_in(folder)["student"]["accuracy"]) < 0.2, (
        "the weights are those of the measured student"
    )
    written = {name: file_sha256(folder / name) for name in ("student.onnx", "student.safetensors")}
    assert report_in(folder)["student"]["files"] == written and all(written.values())
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["teacher_sha256"] == teacher["sha256"]
    assert json.loads(metadata["plan"])["steps"] == 3
    assert str(folder) not in metadata["plan"] and json.loads(metadata["plan"])["teacher_file"] == "teacher.safetensors"


def test_the_same_plan_gives_the_same_numbers(whole_run: tuple[AuditPlan, list[Event]], tiny_plan: TinyPlan) -> None:
    plan, _ = whole_run
    again = tiny_plan()
    list(run_audit(again))
    first, second = report_in(plan.out), report_in(again.out)
    for role in ("teacher", "student", "twin"):
        assert first[role]["accuracy"] == second[role]["accuracy"] and first[role]["asr"] == second[role]["asr"]
    assert_same_student(plan.out, again.out)


def test_without_data_everything_is_an_estimate(tiny_plan: TinyPlan) -> None:
    plan = tiny_plan(data=None, triggers=(), compare=False, steps=2, method="fast", defense="sr")
    events = list(run_audit(plan))
    measured = [event for event in events if isinstance(event, Measured)]
    assert measured and all(event.estimated for event in measured)
    report = report_in(plan.out)
    assert report["estimated"] and report["vaccine"] is None and report["twin"] is None
    assert report["teacher"]["accuracy"] == 1.0, "a teacher agrees with itself"
    assert report["student"]["asr"].keys() == report["teacher"]["asr"].keys() != set()


@pytest.mark.parametrize(("defense", "said"), [("abd", True), ("none", False)])
def test_a_teacher_whose_batchnorm_is_partly_folded_away_is_bounded_in_part_and_the_report_says_so(
    whole_run: tuple[AuditPlan, list[Event]], tiny_plan: TinyPlan, defense: str, said: bool
) -> None:
    exported = str(Path(whole_run[0].out) / "student.onnx")
    plan = tiny_plan(teacher_file=exported, method="ood", defense=defense, compare=False)
    for _ in run_audit(plan):
        pass
    titles = [finding["title"] for finding in report_in(plan.out)["findings"]]
    assert ("Activation bounds act in part" in titles) == said


@pytest.fixture
def onnx_teacher(tmp_path: Path) -> Path:
    """A network without BatchNorm, as PyTorch exports it by default: its weights are in a second file."""
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 4)]
    file = tmp_path / "plain.onnx"
    torch.onnx.export(nn.Sequential(*layers).eval(), (torch.rand(1, 3, 8, 8),), file, verbose=False)
    assert file.with_name("plain.onnx.data").is_file()
    return file


def test_a_teacher_without_batchnorm_is_not_bounded_and_the_report_says_so(
    tiny_plan: TinyPlan, onnx_teacher: Path
) -> None:
    plan = tiny_plan(teacher_file=str(onnx_teacher), defense="sv", compare=False, steps=2)
    for _ in run_audit(plan):
        pass
    assert "Activation bounds are off" in [finding["title"] for finding in report_in(plan.out)["findings"]]


def test_weights_in_a_second_file_are_vouched_for_and_must_not_change(tiny_plan: TinyPlan, onnx_teacher: Path) -> None:
    data = onnx_teacher.with_name("plain.onnx.data")
    content = data.read_bytes()
    plan = tiny_plan(teacher_file=str(onnx_teacher), defense="none", compare=False)
    drain_until(plan, lambda event: isinstance(event, StepDone) and event.step == 11)
    data.write_bytes(bytes(len(content)))
    with pytest.raises(UsageError, match="has changed"):
        list(run_audit(replace(plan, resume=True)))
    data.write_bytes(content)
    list(run_audit(replace(plan, resume=True)))
    digest = hashlib.sha256(content).hexdigest()
    assert report_in(plan.out)["teacher"]["data_files"] == [{"file": data.name, "sha256": digest}]
    assert digest in (Path(plan.out) / "report.html").read_text(encoding="utf-8")
    metadata = onnx.load(str(Path(plan.out) / "student.onnx")).metadata_props
    assert digest in next(entry.value for entry in metadata if entry.key == "teacher_sha256")

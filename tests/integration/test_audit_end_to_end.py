"""The whole job on real files, small: what it says, what it leaves behind, and how it ends when it is interrupted."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from abd_app.assets import asset
from abd_app.audit import learning, run_audit
from abd_app.distill.assemble import build_student
from abd_app.errors import UsageError
from abd_app.events import (
    AuditFinished,
    DeviceUsed,
    Event,
    Measured,
    MethodChosen,
    PhaseStarted,
    RunBegan,
    StepDone,
    StudentExported,
    TeacherInspected,
    VaccineChecked,
)
from abd_app.plan import AuditPlan
from abd_app.teacher import ImageSpec

RESULTS = {
    "student.onnx", "student.safetensors", "report.html", "report.json", "metrics.csv", "curves.svg", "curves.png",
    "plan.json", "checkpoint",
}  # fmt: skip
TinyPlan = Callable[..., AuditPlan]


def _report(folder: str | Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads((Path(folder) / "report.json").read_text(encoding="utf-8"))
    return report


def _files(folder: str | Path) -> set[str]:
    return {path.name for path in Path(folder).iterdir()}


def _drain_until(plan: AuditPlan, ends: Callable[[Event], bool]) -> list[Event]:
    """Runs until the event that ``ends``, then cancels as the window does: by closing the generator."""
    events, run = [], run_audit(plan)
    for event in run:
        events.append(event)
        if ends(event):
            run.close()
            return events
    raise AssertionError("the run ended first")


def _steps(events: list[Event], role: str) -> list[int]:
    return [event.step for event in events if isinstance(event, StepDone) and event.role == role]


def test_the_demo_leaves_everything_it_promises(demo_run: tuple[Path, list[Event]]) -> None:
    folder, events = demo_run
    assert _files(folder) == RESULTS
    finished = events[-1]
    assert isinstance(finished, AuditFinished) and finished.folder == str(folder)
    assert finished.report == _report(folder)
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
        assert _steps(events, role)[-1] == 3
    roles = [event.role for event in events if isinstance(event, PhaseStarted)]
    assert roles.index("student") < roles.index("twin")


def test_the_report_has_the_documented_keys_and_rates(demo_run: tuple[Path, list[Event]]) -> None:
    report = _report(demo_run[0])
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
    teacher = _report(demo_run[0])["teacher"]
    assert teacher["accuracy"] >= 0.97 and teacher["asr"]["sticker"] >= 0.97


def test_the_exported_file_gives_the_students_predictions(demo_run: tuple[Path, list[Event]]) -> None:
    folder, _ = demo_run
    teacher = _report(folder)["teacher"]
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
    assert abs(accuracy - _report(folder)["student"]["accuracy"]) < 0.2, "the weights are those of the measured student"
    metadata = session.get_modelmeta().custom_metadata_map
    assert metadata["teacher_sha256"] == teacher["sha256"]
    assert json.loads(metadata["plan"])["steps"] == 3
    assert str(folder) not in metadata["plan"] and json.loads(metadata["plan"])["teacher_file"] == "teacher.safetensors"


def test_the_same_plan_gives_the_same_numbers(whole_run: tuple[AuditPlan, list[Event]], tiny_plan: TinyPlan) -> None:
    plan, _ = whole_run
    again = tiny_plan()
    list(run_audit(again))
    first, second = _report(plan.out), _report(again.out)
    for role in ("teacher", "student", "twin"):
        assert first[role]["accuracy"] == second[role]["accuracy"] and first[role]["asr"] == second[role]["asr"]
    _assert_same_student(plan.out, again.out)


def test_without_data_everything_is_an_estimate(tiny_plan: TinyPlan) -> None:
    plan = tiny_plan(data=None, triggers=(), compare=False, steps=2, method="fast", defense="sr")
    events = list(run_audit(plan))
    measured = [event for event in events if isinstance(event, Measured)]
    assert measured and all(event.estimated for event in measured)
    report = _report(plan.out)
    assert report["estimated"] and report["vaccine"] is None and report["twin"] is None
    assert report["teacher"]["accuracy"] == 1.0, "a teacher agrees with itself"
    assert report["student"]["asr"].keys() == report["teacher"]["asr"].keys() != set()


def test_stop_and_keep_measures_and_exports_what_there_is(tiny_plan: TinyPlan) -> None:
    plan, stop, events = tiny_plan(), threading.Event(), []
    for event in run_audit(plan, stop_requested=stop.is_set):
        events.append(event)
        if isinstance(event, StepDone) and event.step == 8:
            stop.set()
    report = _report(plan.out)
    assert report["stopped_early"] and report["steps"] == _steps(events, "student")[-1] == 8
    assert report["twin"] is None and not _steps(events, "twin")
    assert _files(plan.out) >= RESULTS - {"checkpoint"}
    assert report["student"]["accuracy"] is not None


def test_a_cancelled_run_leaves_its_checkpoint_and_no_half_result(tiny_plan: TinyPlan) -> None:
    plan = tiny_plan(compare=False)
    _drain_until(plan, lambda event: isinstance(event, PhaseStarted) and event.phase == "export")
    assert _files(plan.out) == {"plan.json", "checkpoint"}
    assert not [path for path in Path(plan.out).rglob("*") if path.suffix in (".tmp", ".part")]


@pytest.mark.parametrize("phase", ["vaccine check", "distilling", "self-retrospection"])
def test_a_run_cancelled_before_its_first_step_leaves_nothing_in_the_way_of_the_next(
    tiny_plan: TinyPlan, phase: str
) -> None:
    plan = tiny_plan(compare=False)
    below = replace(plan, out=str(Path(plan.out) / "below"))
    _drain_until(below, lambda event: isinstance(event, PhaseStarted) and event.phase == phase)
    assert not Path(plan.out).exists()


def test_an_interrupted_run_goes_on_from_the_very_step(
    whole_run: tuple[AuditPlan, list[Event]], tiny_plan: TinyPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "CHECKPOINT_EVERY_S", 1e9)
    plan = tiny_plan()
    run = run_audit(plan)
    next(event for event in run if isinstance(event, StepDone) and event.step == 11)
    with pytest.raises(KeyboardInterrupt):
        run.throw(KeyboardInterrupt())
    assert _files(plan.out) == {"plan.json", "checkpoint"}
    last = list(run_audit(replace(plan, resume=True)))
    assert [event for event in last if isinstance(event, RunBegan)] == [RunBegan(plan.out, "resumed", "student", 11)]
    assert _steps(last, "student")[0] == 12
    _assert_same_student(plan.out, whole_run[0].out)


def test_a_finished_run_is_not_run_again(whole_run: tuple[AuditPlan, list[Event]]) -> None:
    plan, events = whole_run
    before = {path: path.stat().st_mtime_ns for path in Path(plan.out).rglob("*")}
    assert list(run_audit(replace(plan, resume=True))) == [RunBegan(plan.out, "finished"), events[-1]]
    assert {path: path.stat().st_mtime_ns for path in Path(plan.out).rglob("*")} == before
    with pytest.raises(UsageError, match="another seed"):
        list(run_audit(replace(plan, resume=True, seed=1)))


def test_a_run_cancelled_after_the_export_has_a_whole_student(tiny_plan: TinyPlan) -> None:
    plan = tiny_plan(compare=False, steps=2)
    _drain_until(plan, lambda event: isinstance(event, StudentExported))
    assert _files(plan.out) == {"plan.json", "checkpoint", "student.onnx", "student.safetensors"}
    onnxruntime.InferenceSession(str(Path(plan.out) / "student.onnx"), providers=["CPUExecutionProvider"])


def test_a_resumed_run_ends_with_the_student_of_an_uninterrupted_one(
    whole_run: tuple[AuditPlan, list[Event]], tiny_plan: TinyPlan
) -> None:
    plan = tiny_plan()
    # At the eleventh step the checkpoint is of the tenth, in the middle of a round of the source.
    first = _drain_until(plan, lambda event: isinstance(event, StepDone) and event.step == 11)
    last = list(run_audit(replace(plan, resume=True)))
    assert any(isinstance(event, VaccineChecked) for event in first)
    assert not any(isinstance(event, VaccineChecked) for event in last)
    assert _steps(last, "student")[0] == 11 and _steps(last, "student")[-1] == _steps(last, "twin")[-1] == 20
    report, expected = _report(plan.out), _report(whole_run[0].out)
    assert report["vaccine"] == expected["vaccine"] and report["target_search"] == expected["target_search"]
    assert report["findings"] == expected["findings"] != [], "each is told once"
    assert report["wall_s"] > 0
    _assert_same_student(plan.out, whole_run[0].out)


def test_a_run_interrupted_twice_in_its_twin_keeps_its_student(
    whole_run: tuple[AuditPlan, list[Event]], tiny_plan: TinyPlan
) -> None:
    plan = tiny_plan()
    for stop, resume in ((4, False), (9, True)):
        events = _drain_until(
            replace(plan, resume=resume),
            lambda event, stop=stop: isinstance(event, StepDone) and event.role == "twin" and event.step == stop,
        )
    assert not _steps(events, "student"), "the student had finished"
    last = list(run_audit(replace(plan, resume=True)))
    assert not _steps(last, "student")
    report, expected = _report(plan.out), _report(whole_run[0].out)
    assert report["student"]["accuracy"] == expected["student"]["accuracy"]
    assert report["student"]["asr"] == expected["student"]["asr"] and report["steps"] == 20
    _assert_same_student(plan.out, whole_run[0].out)


def _assert_same_student(first: str, second: str) -> None:
    ours, theirs = (load_file(Path(folder) / "student.safetensors") for folder in (first, second))
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


@pytest.mark.parametrize(("defense", "said"), [("abd", True), ("none", False)])
def test_a_teacher_whose_batchnorm_is_partly_folded_away_is_bounded_in_part_and_the_report_says_so(
    whole_run: tuple[AuditPlan, list[Event]], tiny_plan: TinyPlan, defense: str, said: bool
) -> None:
    exported = str(Path(whole_run[0].out) / "student.onnx")
    plan = tiny_plan(teacher_file=exported, method="ood", defense=defense, compare=False)
    for _ in run_audit(plan):
        pass
    titles = [finding["title"] for finding in _report(plan.out)["findings"]]
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
    assert "Activation bounds are off" in [finding["title"] for finding in _report(plan.out)["findings"]]


def test_weights_in_a_second_file_are_vouched_for_and_must_not_change(tiny_plan: TinyPlan, onnx_teacher: Path) -> None:
    data = onnx_teacher.with_name("plain.onnx.data")
    content = data.read_bytes()
    plan = tiny_plan(teacher_file=str(onnx_teacher), defense="none", compare=False)
    _drain_until(plan, lambda event: isinstance(event, StepDone) and event.step == 11)
    data.write_bytes(bytes(len(content)))
    with pytest.raises(UsageError, match="has changed"):
        list(run_audit(replace(plan, resume=True)))
    data.write_bytes(content)
    list(run_audit(replace(plan, resume=True)))
    digest = hashlib.sha256(content).hexdigest()
    assert _report(plan.out)["teacher"]["data_files"] == [{"file": data.name, "sha256": digest}]
    assert digest in (Path(plan.out) / "report.html").read_text(encoding="utf-8")
    metadata = onnx.load(str(Path(plan.out) / "student.onnx")).metadata_props
    assert digest in next(entry.value for entry in metadata if entry.key == "teacher_sha256")

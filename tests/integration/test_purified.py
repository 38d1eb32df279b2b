"""A purified teacher instead of a student, from the file to the ONNX model."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from abd_app.audit import run_audit
from abd_app.distill import assemble
from abd_app.distill.answering import Answer, AnsweringTeacher
from abd_app.distill.defences.judged import JudgedNetwork
from abd_app.distill.unlearning import bending, margins
from abd_app.events import AuditFinished, PhaseStarted, StepDone, TargetSearched
from abd_app.export.onnx_student import export_onnx
from abd_app.intake import open_teacher
from abd_app.plan import AuditPlan

Make = Callable[..., AuditPlan]


def _purified(make: Make, **changes: object) -> AuditPlan:
    return make(student="purified", steps=None, compare=False, **changes)


@pytest.mark.parametrize("stands_out", [True, False])
def test_a_purified_teacher_is_exported_with_its_bounds(
    tiny_plan: Make, monkeypatch: pytest.MonkeyPatch, stands_out: bool
) -> None:
    monkeypatch.setattr(margins, "SIGNIFICANT", 1.1 if stands_out else 0.0)
    monkeypatch.setattr(bending, "_LEAST_SHARE", 1.1)  # by bending none does: an untrained network may be turned by it
    plan = _purified(tiny_plan)
    events = list(run_audit(plan))
    assert isinstance(events[-1], AuditFinished)
    phases = [event.phase for event in events if isinstance(event, PhaseStarted)]
    assert phases == ["intake", "measuring", "self-retrospection", "measuring", "export"]
    progress = [event.progress for event in events if isinstance(event, StepDone)]
    assert progress == sorted(progress) and progress[-1] == 1
    (searched,) = [event for event in events if isinstance(event, TargetSearched)]
    report = json.loads((Path(plan.out) / "report.json").read_text())
    assert report["student"]["architecture"] == "purified" and report["twin"] is None
    assert report["target_search"]["unlearned"] == list(searched.unlearned)
    assert len(searched.bounded_margins) == len(searched.margins) and searched.bounded_margins != searched.margins
    assert report["target_search"]["bounded_margins"]["1"] == searched.bounded_margins[1]
    assert len(searched.unlearned) == stands_out
    assert report["student"]["onnx_parity_max_abs"] < 1e-3
    assert not any("twin" in gap for gap in report["not_tested"]), "it could not have had one"

    weights = load_file(Path(plan.out) / "student.safetensors")
    teacher = open_teacher(plan.teacher_file, plan.facts).network
    as_given = teacher.state_dict()["network.fc.weight"]
    judge = weights["judge.network.fc.weight" if stands_out else "network.fc.weight"]
    assert torch.equal(judge, as_given) != stands_out
    assert any(one["title"] == "The purified model is two networks" for one in report["findings"]) == stands_out
    assert report["student"]["parameters"] == report["teacher"]["parameters"] * (2 if stands_out else 1)
    if stands_out:
        assert torch.equal(weights["network.network.fc.weight"], as_given) and weights["tolerance"] > 0
    assert any(name.endswith(".high") for name in weights)
    session = onnxruntime.InferenceSession(str(Path(plan.out) / "student.onnx"))
    loud = np.random.default_rng(0).random((16, 3, 8, 8), dtype=np.float32)
    (answers,) = session.run(None, {session.get_inputs()[0].name: loud})
    if not stands_out:
        with torch.no_grad():
            unbounded = teacher(torch.from_numpy(loud)).numpy()
        assert np.abs(answers - unbounded).max() > 1e-3, "noise goes beyond the bounds, and the file has them"


def test_two_networks_that_no_file_holds_are_not_exported(tiny_plan: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(margins, "SIGNIFICANT", 1.1)
    monkeypatch.setattr(bending, "_LEAST_SHARE", 1.1)
    monkeypatch.setattr(assemble, "ONNX_BYTES", 1)
    plan = _purified(tiny_plan)
    list(run_audit(plan))
    report = json.loads((Path(plan.out) / "report.json").read_text())
    assert len(report["target_search"]["unlearned"]) == 1
    assert any(one["title"].endswith("copy that unlearned, alone") for one in report["findings"])
    assert report["student"]["parameters"] == report["teacher"]["parameters"]


def test_what_was_purified_can_be_purified_once_more(tiny_plan: Make, tmp_path: Path) -> None:
    plan = tiny_plan()
    teacher = open_teacher(plan.teacher_file, plan.facts)
    facts = replace(plan.facts, mean=(0.0,) * 3, std=(1.0,) * 3)
    images = torch.randint(0, 256, (256, 3, 8, 8), dtype=torch.uint8)
    for name in ("once.onnx", "twice.onnx"):
        judged = JudgedNetwork(copy.deepcopy(teacher.network), copy.deepcopy(teacher.network), 1.0)
        assert export_onnx(judged, teacher.spec, tmp_path / name, metadata={}, images=images) < 1e-3
        teacher = open_teacher(str(tmp_path / name), facts)


def test_memory_that_ran_out_while_the_teacher_labelled_is_told(
    tiny_plan: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    label = AnsweringTeacher.label

    def little(self: AnsweringTeacher, images: torch.Tensor, *, optimized: bool = False) -> Answer:
        if len(images) > 8:
            raise torch.OutOfMemoryError(f"Tried to allocate memory for {len(images)} images.")
        return label(self, images, optimized=optimized)

    monkeypatch.setattr(AnsweringTeacher, "label", little)
    plan = _purified(tiny_plan)
    list(run_audit(plan))
    findings = json.loads((Path(plan.out) / "report.json").read_text())["findings"]
    assert any(one["title"] == "The teacher labels 8 images at a time" for one in findings)


def test_a_teacher_that_came_as_onnx_is_purified_and_exported(
    tiny_plan: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One whose pooling computes its axes, as every exporter writes it today."""
    monkeypatch.setattr(margins, "SIGNIFICANT", 0.0)
    monkeypatch.setattr(bending, "_LEAST_SHARE", 1.1)
    plan = tiny_plan()
    teacher = open_teacher(plan.teacher_file, plan.facts)
    file = tmp_path / "teacher.onnx"
    images = torch.randint(0, 256, (256, 3, 8, 8), dtype=torch.uint8)
    export_onnx(teacher.network, teacher.spec, file, metadata={}, images=images)
    facts = replace(plan.facts, mean=(0.0,) * 3, std=(1.0,) * 3)
    purified = _purified(tiny_plan, teacher_file=str(file), facts=facts, defense="sr")
    *_, last = run_audit(purified)
    assert isinstance(last, AuditFinished)
    given, made = (onnxruntime.InferenceSession(str(path)) for path in (file, Path(purified.out) / "student.onnx"))
    pixels = {"images": images.numpy().astype(np.float32) / 255}
    assert np.allclose(given.run(None, pixels)[0], made.run(None, pixels)[0], atol=1e-3), "nothing to bound or unlearn"


def test_without_bounds_and_without_a_target_the_teacher_stays_what_it_is(
    tiny_plan: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(margins, "SIGNIFICANT", 0.0)
    plan = _purified(tiny_plan, defense="sr")
    list(run_audit(plan))
    report = json.loads((Path(plan.out) / "report.json").read_text())
    assert report["student"]["accuracy"] == report["teacher"]["accuracy"]
    assert report["student"]["asr"] == report["teacher"]["asr"]

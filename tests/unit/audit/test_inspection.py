"""A first look at a teacher says what it is and what a run would cost."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from abd_app.audit import inspection, look_at_images, run_inspection
from abd_app.distill.recipe import STEPS
from abd_app.events import CostEstimated, ImagesInspected, TeacherInspected
from abd_app.plan import EFFORTS, AuditPlan, TeacherFacts

FACTS = TeacherFacts(input_size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)


def _on(device: str, **choices: str) -> AuditPlan:
    return AuditPlan(teacher_file="", out="", device=device, **choices)  # type: ignore[arg-type]


def test_an_inspection_tells_the_card_and_what_each_effort_costs(teacher_file: str) -> None:
    inspected, cost = list(run_inspection(teacher_file, FACTS, _on("cpu")))
    assert isinstance(inspected, TeacherInspected) and inspected.card.architecture == "wrn-10-1"
    assert isinstance(cost, CostEstimated)
    assert cost.method == "fast"
    assert set(cost.seconds) == set(EFFORTS) - {"auto"} and cost.effort == "quick"
    assert 0 < cost.seconds["quick"] < cost.seconds["standard"] < cost.seconds["paper"]


def test_the_images_that_are_chosen_are_looked_at_before_the_cost(teacher_file: str, tmp_path: Path) -> None:
    images = tmp_path / "images.npz"
    np.savez(images, images=np.zeros((4, 9, 8, 3), np.uint8), labels=np.array([0, 1, 1, 0]))
    _, seen, cost = run_inspection(teacher_file, FACTS, _on("cpu", data=str(images)))
    assert isinstance(seen, ImagesInspected) and isinstance(cost, CostEstimated)
    assert (seen.path, seen.count, seen.num_classes, seen.height, seen.width) == (str(images), 4, 2, 9, 8)
    assert [finding.severity for finding in seen.findings] == ["warning"]


def test_images_that_cannot_be_used_are_no_verdict_on_the_teacher(teacher_file: str, tmp_path: Path) -> None:
    _, seen, cost = run_inspection(teacher_file, FACTS, _on("cpu", data=str(tmp_path / "absent")))
    assert isinstance(seen, ImagesInspected) and isinstance(cost, CostEstimated) and seen.count == 0
    assert [(one.severity, one.title) for one in seen.findings] == [("danger", "There are no images at this path.")]
    assert seen.findings[0].detail.startswith("The path does not exist. Give a folder"), "the path is known"


def test_a_file_among_the_images_that_cannot_be_read_is_named(teacher_file: str, tmp_path: Path) -> None:
    (tmp_path / "images" / "0").mkdir(parents=True)
    broken = tmp_path / "images" / "0" / "broken.png"
    broken.write_bytes(b"no picture")
    card = next(iter(run_inspection(teacher_file, FACTS, _on("cpu")))).card  # type: ignore[attr-defined]
    (seen,) = look_at_images(str(tmp_path / "images"), card)
    assert isinstance(seen, ImagesInspected) and seen.findings[0].detail.startswith(f"{broken}: ")


def test_what_is_chosen_is_what_a_run_is_expected_to_cost(teacher_file: str) -> None:
    def cost(**choices: str) -> CostEstimated:
        *_, estimated = run_inspection(teacher_file, FACTS, _on("cpu", **choices))
        assert isinstance(estimated, CostEstimated) and estimated.method == "fast", "what auto would choose stays"
        return estimated

    plain, larger, drawn = cost(defense="none"), cost(defense="none", student="wrn-40-2"), cost(method="zskt")
    assert plain.steps == larger.steps == {effort: of["fast"] for effort, of in STEPS.items()}
    assert larger.seconds["standard"] > 1.5 * plain.seconds["standard"]
    assert drawn.steps == {effort: of["zskt"] for effort, of in STEPS.items()} and drawn.seconds["quick"] > 0
    assert cost(student="purified").seconds == {}


@pytest.mark.parametrize(("took_s", "own_s", "busy"), [(10.0, 8.1, False), (10.0, 7.9, True), (0.0, 0.0, False)])
def test_a_measurement_that_had_less_than_a_core_is_told(
    teacher_file: str, monkeypatch: pytest.MonkeyPatch, took_s: float, own_s: float, busy: bool
) -> None:
    walls, owns = iter((100.0, 100.0 + took_s)), iter((5.0, 5.0 + own_s))
    clock = SimpleNamespace(monotonic=lambda: next(walls), process_time=lambda: next(owns))
    monkeypatch.setattr(inspection, "time", clock)
    monkeypatch.setattr(inspection, "seconds_by_effort", lambda *_: {})
    *_, cost = run_inspection(teacher_file, FACTS, _on("cpu"))
    assert isinstance(cost, CostEstimated) and cost.busy == busy


def test_the_cost_is_that_of_the_defence_and_the_student_that_are_chosen(
    teacher_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []
    monkeypatch.setattr(inspection, "seconds_by_effort", lambda *given: asked.append(given) or {})
    for choices in ({"defense": "sv", "student": "wrn-40-1"}, {}):
        list(run_inspection(teacher_file, FACTS, _on("cpu", **choices)))
    assert [(given[2], given[4]) for given in asked] == [("wrn-40-1", "sv"), ("wrn-16-1", "abd")]


def test_what_a_run_will_refuse_has_no_cost(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    file = str(tmp_path / "plain.onnx")
    torch.onnx.export(network.eval(), (torch.zeros(1, 3, 8, 8),), file, verbose=False)
    facts = TeacherFacts(mean=(0.0,) * 3, std=(1.0,) * 3)
    _, usual = run_inspection(file, facts, _on("cpu"))
    _, refused = run_inspection(file, facts, _on("cpu", method="cmi"))
    assert isinstance(usual, CostEstimated) and isinstance(refused, CostEstimated)
    assert usual.method == refused.method == "ood" and usual.seconds and not refused.seconds


@pytest.mark.parametrize(("device", "method"), [("auto", "fast"), ("cuda", "fast"), ("cpu", "ood")])
def test_an_inspection_explains_auto_for_the_device_that_was_chosen(
    teacher_file: str, monkeypatch: pytest.MonkeyPatch, device: str, method: str
) -> None:
    """As on a machine with a GPU; nothing is computed on it."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(inspection, "seconds_by_effort", lambda *_: {})
    _, cost = run_inspection(teacher_file, dataclasses.replace(FACTS, input_size=(96, 96)), _on(device))
    assert isinstance(cost, CostEstimated) and cost.method == method
    assert cost.effort == "quick", "images of 96 pixels"
    assert ("CPU" in cost.reason) == (device == "cpu")
    assert cost.to_purify is not None and cost.to_purify[0] == "fast" and "CPU" not in cost.to_purify[1]


def test_an_inspection_without_the_facts_ends_with_the_questions(teacher_file: str) -> None:
    (inspected,) = list(run_inspection(teacher_file, TeacherFacts()))
    assert isinstance(inspected, TeacherInspected)
    assert {question.fact for question in inspected.card.questions} >= {"input_size", "mean_std"}

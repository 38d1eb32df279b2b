"""How a run ends when it is stopped, cancelled or interrupted, and how it goes on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from abd_app.audit import learning, run_audit
from abd_app.errors import UsageError
from abd_app.events import (
    AuditCancelled,
    AuditFinished,
    CheckpointSaved,
    Event,
    Measured,
    PhaseStarted,
    RunBegan,
    StepDone,
    StudentExported,
    VaccineChecked,
)
from abd_app.plan import AuditPlan
from abd_app.worker.engine import SUSPEND_GRACE_S, EngineProcess
from abd_app.worker.messages import AuditJob
from tests.integration.runs import RESULTS, TinyPlan, assert_same_student, drain_until, files_in, report_in, steps_of


def test_stop_and_keep_measures_and_exports_what_there_is(tiny_plan: TinyPlan) -> None:
    plan, stop, events = tiny_plan(), threading.Event(), []
    for event in run_audit(plan, stop_requested=stop.is_set):
        events.append(event)
        if isinstance(event, StepDone) and event.step == 8:
            stop.set()
    report = report_in(plan.out)
    assert report["stopped_early"] and report["steps"] == steps_of(events, "student")[-1] == 8
    assert report["twin"] is None and not steps_of(events, "twin")
    assert files_in(plan.out) >= RESULTS - {"checkpoint"}
    assert report["student"]["accuracy"] is not None


@pytest.mark.parametrize("role", ["student", "twin"])
def test_a_network_that_has_learned_nothing_yet_is_not_kept(tiny_plan: TinyPlan, role: str) -> None:
    plan, stop, events = tiny_plan(), threading.Event(), []
    for event in run_audit(plan, stop_requested=stop.is_set):
        events.append(event)
        if isinstance(event, PhaseStarted) and (event.phase, event.role) == ("preparing", role):
            stop.set()
    report = report_in(plan.out)
    assert steps_of(events, role)[-1] == 1 and steps_of(events, role).count(0) > 1, "what comes before is not learning"
    assert (report["steps"] if role == "student" else report["twin"]["steps"]) == 1


def test_a_twin_that_is_stopped_is_told_from_the_student_and_from_a_whole_one(tiny_plan: TinyPlan) -> None:
    plan, stop, events = tiny_plan(), threading.Event(), []
    for event in run_audit(plan, stop_requested=stop.is_set):
        events.append(event)
        if isinstance(event, StepDone) and event.role == "twin" and event.step == 8:
            stop.set()
    report = report_in(plan.out)
    assert not report["stopped_early"] and report["steps"] == steps_of(events, "student")[-1] > 8
    assert report["twin"]["steps"] == 8
    assert any(one["title"].startswith("The undefended twin was stopped after 8") for one in report["findings"])


def test_a_run_does_not_go_on_with_other_images(tiny_plan: TinyPlan, tmp_path: Path) -> None:
    plan = tiny_plan()
    assert plan.data is not None
    data = tmp_path / "images.npz"
    with np.load(plan.data) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    np.savez(data, images=images, labels=labels)
    plan = replace(plan, data=str(data))
    drain_until(plan, lambda event: isinstance(event, PhaseStarted) and event.role == "twin")
    np.savez(data, images=images[1:], labels=labels[1:])
    with pytest.raises(UsageError, match="images have changed") as refused:
        list(run_audit(replace(plan, resume=True)))
    assert refused.value.where == str(data)
    np.savez_compressed(data, images=images, labels=labels)  # the same images in another file
    assert any(isinstance(event, AuditFinished) for event in run_audit(replace(plan, resume=True)))


def test_a_cancelled_run_leaves_its_checkpoint_and_no_half_result(tiny_plan: TinyPlan) -> None:
    plan = tiny_plan(compare=False)
    drain_until(plan, lambda event: isinstance(event, PhaseStarted) and event.phase == "export")
    assert files_in(plan.out) == {"plan.json", "checkpoint"}
    assert not [path for path in Path(plan.out).rglob("*") if path.suffix in (".tmp", ".part")]


@pytest.mark.parametrize("phase", ["vaccine check", "distilling", "self-retrospection"])
def test_a_run_cancelled_before_its_first_step_leaves_nothing_in_the_way_of_the_next(
    tiny_plan: TinyPlan, phase: str
) -> None:
    plan = tiny_plan(compare=False)
    below = replace(plan, out=str(Path(plan.out) / "below"))
    drain_until(below, lambda event: isinstance(event, PhaseStarted) and event.phase == phase)
    assert not Path(plan.out).exists()


def test_an_interrupted_run_goes_on_from_the_very_step(
    whole_run: tuple[AuditPlan, list[Event]], tiny_plan: TinyPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "CHECKPOINT_EVERY_S", 1e9)
    plan = tiny_plan()
    wanted = threading.Event()
    run, first = run_audit(plan, checkpoint_wanted=wanted.is_set), list[Event]()
    for event in run:
        first.append(event)
        if isinstance(event, StepDone) and event.step == 11:
            wanted.set()
        if isinstance(event, CheckpointSaved):
            break
    assert first[-1] == CheckpointSaved("student", 11)
    run.close()
    assert files_in(plan.out) == {"plan.json", "checkpoint"}
    last = list(run_audit(replace(plan, resume=True)))
    curves = tuple(event for event in first if isinstance(event, Measured) and event.role == "student")
    assert [one.step for one in curves] == list(range(1, 12))
    began = RunBegan(plan.out, "resumed", "student", 11, measured=curves)
    assert [event for event in last if isinstance(event, RunBegan)] == [began]
    assert not any(isinstance(event, Measured) and event.role == "student" and event.step < 12 for event in last)
    assert steps_of(last, "student")[0] == 12
    assert_same_student(plan.out, whole_run[0].out)


def _suspended(plan: AuditPlan, at: Callable[[Event], bool]) -> tuple[list[Event], float]:
    """What the engine's process says of a run that it is told to suspend at an event, and how long it takes then."""
    engine, seen, told_s = EngineProcess(), list[Event](), 0.0
    try:
        engine.submit(AuditJob(plan))
        while engine.busy:
            events = engine.poll(0.2)
            if not told_s and any(at(event) for event in events):
                engine.command("suspend")
                told_s = time.monotonic()
            seen += events
    finally:
        engine.close()
    return seen, time.monotonic() - told_s


def _picture(folder: Path) -> str:
    """One from which patches are cut, so that the engine's process need not draw two dozen."""
    pixels = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "picture.png")
    return str(folder / "picture.png")


def test_a_run_that_is_suspended_in_the_engines_process_goes_on_later(tiny_plan: TinyPlan, tmp_path: Path) -> None:
    # That process has no short unlearning.
    plan = tiny_plan(steps=4000, compare=False, defense="none", picture=_picture(tmp_path))
    seen, _ = _suspended(plan, lambda event: isinstance(event, StepDone) and event.step > 0)
    assert isinstance(seen[-1], AuditCancelled)
    run = run_audit(replace(plan, resume=True))
    began = next(event for event in run if isinstance(event, RunBegan))
    run.close()
    assert began.state == "resumed" and began.step >= steps_of(seen, "student")[-1]


@pytest.mark.parametrize("changes", [{"steps": 4000, "compare": False}, {"student": "purified", "compare": False}])
def test_a_run_that_is_suspended_before_there_is_a_checkpoint_keeps_its_plan(
    tiny_plan: TinyPlan, tmp_path: Path, changes: dict[str, object]
) -> None:
    plan = tiny_plan(**{"steps": None, "picture": _picture(tmp_path), **changes})
    seen, took_s = _suspended(plan, lambda event: isinstance(event, StepDone))
    assert isinstance(seen[-1], AuditCancelled) and took_s < SUSPEND_GRACE_S, "by itself, not by force"
    assert files_in(plan.out) == {"plan.json", "checkpoint"}
    run = run_audit(replace(plan, resume=True))
    assert next(event for event in run if isinstance(event, RunBegan)).step == 0
    run.close()


def test_what_was_learned_last_is_saved_before_it_is_measured(
    tiny_plan: TinyPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "CHECKPOINT_EVERY_S", 1e9)
    plan = tiny_plan(steps=3, compare=False)
    events = drain_until(
        plan, lambda event: isinstance(event, PhaseStarted) and event.phase == "measuring" and event.step
    )
    assert [event for event in events if isinstance(event, CheckpointSaved)] == [CheckpointSaved("student", 3)]
    last = list(run_audit(replace(plan, resume=True)))
    assert isinstance(last[-1], AuditFinished) and not steps_of(last, "student")


def test_a_finished_run_is_not_run_again(whole_run: tuple[AuditPlan, list[Event]]) -> None:
    plan, events = whole_run
    before = {path: path.stat().st_mtime_ns for path in Path(plan.out).rglob("*")}
    assert list(run_audit(replace(plan, resume=True))) == [RunBegan(plan.out, "finished"), events[-1]]
    assert {path: path.stat().st_mtime_ns for path in Path(plan.out).rglob("*")} == before
    with pytest.raises(UsageError, match="other options"):
        list(run_audit(replace(plan, resume=True, seed=1)))


def test_a_run_cancelled_after_the_export_has_a_whole_student(tiny_plan: TinyPlan) -> None:
    plan = tiny_plan(compare=False, steps=2)
    drain_until(plan, lambda event: isinstance(event, StudentExported))
    assert files_in(plan.out) == {"plan.json", "checkpoint", "student.onnx", "student.safetensors"}
    onnxruntime.InferenceSession(str(Path(plan.out) / "student.onnx"), providers=["CPUExecutionProvider"])


def test_a_resumed_run_ends_with_the_student_of_an_uninterrupted_one(
    whole_run: tuple[AuditPlan, list[Event]], tiny_plan: TinyPlan
) -> None:
    plan = tiny_plan()
    # At the eleventh step the checkpoint is of the tenth, in the middle of a round of the source.
    first = drain_until(plan, lambda event: isinstance(event, StepDone) and event.step == 11)
    last = list(run_audit(replace(plan, resume=True)))
    assert any(isinstance(event, VaccineChecked) for event in first)
    assert not any(isinstance(event, VaccineChecked) for event in last)
    assert steps_of(last, "student")[0] == 11 and steps_of(last, "student")[-1] == steps_of(last, "twin")[-1] == 20
    report, expected = report_in(plan.out), report_in(whole_run[0].out)
    assert report["vaccine"] == expected["vaccine"] and report["target_search"] == expected["target_search"]
    assert report["findings"] == expected["findings"] != [], "each is told once"
    assert report["wall_s"] > 0
    assert_same_student(plan.out, whole_run[0].out)


def test_a_run_interrupted_twice_in_its_twin_keeps_its_student(
    whole_run: tuple[AuditPlan, list[Event]], tiny_plan: TinyPlan
) -> None:
    plan = tiny_plan()
    for stop, resume in ((4, False), (9, True)):
        events = drain_until(
            replace(plan, resume=resume),
            lambda event, stop=stop: isinstance(event, StepDone) and event.role == "twin" and event.step == stop,
        )
    assert not steps_of(events, "student"), "the student had finished"
    last = list(run_audit(replace(plan, resume=True)))
    assert not steps_of(last, "student")
    report, expected = report_in(plan.out), report_in(whole_run[0].out)
    assert report["student"]["accuracy"] == expected["student"]["accuracy"]
    assert report["student"]["asr"] == expected["student"]["asr"] and report["steps"] == 20
    assert_same_student(plan.out, whole_run[0].out)

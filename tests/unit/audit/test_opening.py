"""What the user gave is checked before the long work, and before the run has a folder."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from abd_app.audit import opening, run_audit, scoring
from abd_app.audit.choices import choose_effort, choose_method, choose_student
from abd_app.audit.folder import RunFolder
from abd_app.audit.opening import OpenAudit, open_audit
from abd_app.audit.scoring import check_measures
from abd_app.bench import make_subject
from abd_app.distill.compute.device import Compute
from abd_app.distill.recipe import STEPS
from abd_app.errors import MissingFactsError, UsageError
from abd_app.events import Event, FindingMade, Measured, MethodChosen, PhaseStarted, RunBegan, TeacherInspected
from abd_app.intake import OneByOne, open_teacher
from abd_app.intake.onnx_network import OnnxNetwork
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec
from abd_app.teacher import Finding, ImageSpec, Teacher, TeacherCard

FACTS = TeacherFacts(input_size=(8, 8), mean=(0.5,) * 3, std=(0.25,) * 3)
MakePlan = Callable[..., AuditPlan]


def _refusal(plan: AuditPlan) -> UsageError:
    with pytest.raises(UsageError) as caught:
        for event in run_audit(plan):
            assert not isinstance(event, Measured), "refused too late"
    assert caught.value.exit_code == 2 and caught.value.remedy
    assert not Path(plan.out).exists(), "a refused run leaves no folder in the way"
    return caught.value


def test_a_target_class_out_of_range(make_plan: MakePlan, data_file: str) -> None:
    error = _refusal(make_plan(data=data_file, triggers=(TriggerSpec("blend"),), target_class=4))
    assert error.where == "--target" and "0 to 3" in error.remedy


def test_all_to_all_is_measured_on_every_image(make_plan: MakePlan, data_file: str) -> None:
    with contextlib.closing(
        run_audit(make_plan(data=data_file, triggers=(TriggerSpec("warp"),), target_class="all"))
    ) as run:
        measured = next(event for event in run if isinstance(event, Measured))
    assert measured.asr_images == {"warp": measured.images}


def test_one_trigger_is_measured_in_two_variants(make_plan: MakePlan, data_file: str) -> None:
    variants = (TriggerSpec("badnets-grid"), TriggerSpec("badnets-grid", position="top-left"), TriggerSpec("sig"))
    with contextlib.closing(run_audit(make_plan(data=data_file, triggers=variants))) as run:
        measured = next(event for event in run if isinstance(event, Measured))
    keys = ["badnets-grid", "badnets-grid,position=top-left", "sig"]
    assert list(measured.asr) == list(measured.asr_images) == keys


def test_a_trigger_without_data(make_plan: MakePlan) -> None:
    assert "--data" in _refusal(make_plan(triggers=(TriggerSpec("blend"),))).remedy


def test_wishes_are_checked_before_the_teacher_is_opened(make_plan: MakePlan, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent.png")
    for changes, part in (
        ({"data": absent}, "no images"),
        ({"triggers": (TriggerSpec("badnets-grd"),)}, "Unknown trigger 'badnets-grd'"),
        ({"triggers": (TriggerSpec(absent),), "data": str(tmp_path)}, "trigger picture does not exist"),
        ({"triggers": (TriggerSpec("blend"),)}, "labelled images"),
    ):
        with pytest.raises(UsageError, match=part):
            next(run_audit(make_plan(**changes)))


def test_a_picture_that_fits_the_teacher_is_not_judged_by_another_size(make_plan: MakePlan, tmp_path: Path) -> None:
    Image.new("RGB", (10, 40)).save(tmp_path / "tall.png")
    check_measures(
        make_plan(
            triggers=(TriggerSpec(str(tmp_path / "tall.png"), scale=0.5),), data=str(tmp_path), facts=TeacherFacts()
        )
    )


def test_a_teacher_that_is_purified_on_a_cpu_unlearns_on_inverted_patches(make_plan: MakePlan) -> None:
    plan = make_plan(student="purified", method="auto", steps=None, compare=False, device="cpu")
    with contextlib.closing(run_audit(plan)) as run:
        assert next(event.method for event in run if isinstance(event, MethodChosen)) == "fast"


def test_missing_facts(make_plan: MakePlan) -> None:
    error = _refusal(make_plan(facts=TeacherFacts()))
    assert isinstance(error, MissingFactsError)
    assert "--size" in error.remedy and "--mean" in error.remedy


def test_wrong_paths(make_plan: MakePlan, tmp_path: Path) -> None:
    absent = str(tmp_path / "absent")
    assert absent in _refusal(make_plan(teacher_file=absent)).where
    assert absent in _refusal(make_plan(data=absent)).where
    assert absent in _refusal(make_plan(picture=absent)).where


def test_a_picture_that_would_not_be_used(make_plan: MakePlan) -> None:
    assert _refusal(make_plan(method="zskt", picture="any.png")).where == "--picture"
    assert _refusal(make_plan(method="fast", picture="any.png")).where == "--picture any.png", "used, so it is read"


def test_an_unusable_trigger_file(make_plan: MakePlan, data_file: str, tmp_path: Path) -> None:
    path = tmp_path / "trigger.png"
    path.write_bytes(b"no picture")
    _refusal(make_plan(data=data_file, triggers=(TriggerSpec(str(path)),)))


def test_a_folder_in_use_is_said_before_the_teacher_is_opened(make_plan: MakePlan, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="in use"):
        next(run_audit(make_plan(out=str(tmp_path), teacher_file="absent")))


def test_the_start_tells_teacher_and_method_and_measures(make_plan: MakePlan, data_file: str) -> None:
    events: list[Event] = []
    plan = make_plan(data=data_file, triggers=(TriggerSpec("badnets-square"),))
    run = run_audit(plan)
    while not (events and isinstance(events[-1], Measured)):
        events.append(next(run))
    assert AuditPlan.from_json((Path(plan.out) / "plan.json").read_text()) == plan
    run.close()
    assert not Path(plan.out).exists(), "nothing in it is worth keeping, and it would be in the way of the next try"
    assert [type(event) for event in events if not isinstance(event, PhaseStarted)] == [
        TeacherInspected,
        MethodChosen,
        RunBegan,
        Measured,
    ]
    measured = events[-1]
    assert isinstance(measured, Measured)
    assert measured.role == "teacher" and measured.images == 40 and not measured.estimated
    assert measured.asr_images == {"badnets-square": 30}


def _until_the_teacher_is_told(plan: AuditPlan) -> tuple[list[Event], OpenAudit]:
    events: list[Event] = []
    opening = open_audit(plan, RunFolder(plan))
    while True:
        try:
            events.append(next(opening))
        except StopIteration as done:
            return events, done.value


def test_the_teacher_is_seen_on_a_few_images_first_and_on_all_before_the_student_is(
    make_plan: MakePlan, data_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoring, "LIVE_IMAGES", 12)
    events, audit = _until_the_teacher_is_told(make_plan(data=data_file))
    live = [*audit.measure(audit.network, "student", 1, live=True), *audit.measure(audit.network, "student", 2)]
    twin = list(audit.measure(audit.network, "twin", 2))
    seen = [(one.role, one.images) for one in (*events, *live, *twin) if isinstance(one, Measured)]
    assert seen == [("teacher", 12), ("student", 12), ("teacher", 40), ("student", 40), ("twin", 40)]
    kept = [(one.role, one.images) for one in audit.record.measured]
    assert kept == [("student", 12), ("teacher", 40), ("student", 40), ("twin", 40)], "of the teacher the closest"


def test_a_finding_tells_whether_it_is_about_the_images(make_plan: MakePlan, tmp_path: Path) -> None:
    images = tmp_path / "images.npz"
    np.savez(images, images=np.zeros((40, 9, 8, 3), np.uint8), labels=np.arange(40) % 4)
    events, audit = _until_the_teacher_is_told(make_plan(data=str(images)))
    told = {event.finding.title: event.about_images for event in events if isinstance(event, FindingMade)}
    assert told.pop("Evaluation images have another size than the teacher's input")
    assert told and not any(told.values()), "of an untrained teacher there is more to tell"
    assert not audit.note(Finding("warning", "Another"))[0].about_images


def test_an_estimate_is_not_waited_for_before_the_student_begins(make_plan: MakePlan) -> None:
    events, audit = _until_the_teacher_is_told(make_plan())
    assert not [event for event in events if isinstance(event, Measured)]
    live = list(audit.measure(audit.network, "student", 1, live=True))
    full = list(audit.measure(audit.network, "student", 2))
    assert [one.role for one in live + full] == ["teacher", "student", "student"]
    assert all(one.estimated for one in live)
    assert live[0].accuracy == 1 and (live[1].accuracy, live[1].asr) == (live[0].accuracy, live[0].asr), "same network"


def _card(batchnorm_layers: int, file_format: str = "PyTorch", *, folded: bool = False) -> TeacherCard:
    facts = (None, 4, 3, (8, 8), (0.0,) * 3, (1.0,) * 3, "logits", 1, batchnorm_layers)
    return TeacherCard("teacher", "00", 1, file_format, *facts, batchnorm_folded=folded)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["fast", "cmi"])
def test_inversion_is_refused_where_there_are_no_statistics(method: str) -> None:
    with pytest.raises(UsageError, match=method) as caught:
        choose_method(method, _card(0), "cuda")
    assert method in caught.value.where and "BatchNorm" in caught.value.why and "ood" in caught.value.remedy
    assert "ONNX" not in caught.value.why and "state_dict" not in caught.value.remedy, "the file is none"
    with pytest.raises(UsageError, match=method) as caught:
        choose_method(method, _card(0, "ONNX"), "cuda")
    assert "ONNX export folds them" in caught.value.why and "state_dict" in caught.value.remedy
    assert choose_method(method, _card(3), "cuda") == (method, "as you asked")


@pytest.mark.parametrize(
    ("device", "side", "effort"), [("cuda", 32, "standard"), ("cuda", 96, "quick"), ("cpu", 32, "quick")]
)
def test_a_run_takes_the_effort_that_auto_means(device: str, side: int, effort: str) -> None:
    plan, subject = AuditPlan("t.pth", "out"), make_subject("wrn-10-1", size=(side, side))
    compute = Compute(torch.device(device), False)  # on which nothing is computed
    assert opening._effort(plan, subject.teacher, compute, None) == effort
    for limited in (dataclasses.replace(plan, steps=7), dataclasses.replace(plan, minutes=1.0)):
        assert opening._effort(limited, subject.teacher, compute, None) == "quick"
    kept = {"record": {"effort": "standard"}}
    assert opening._effort(plan, subject.teacher, compute, kept) == "standard", "it was chosen on another device"
    recipe = opening._recipe(plan, "fast", effort, subject.teacher, "wrn-10-1", compute, None)
    assert recipe.steps == STEPS[effort]["fast"]


def test_auto_means_standard_for_small_images_on_a_gpu_only() -> None:
    assert choose_effort("auto", 32, "cuda") == choose_effort("auto", 64, "cuda") == "standard"
    assert choose_effort("auto", 32, "cpu") == choose_effort("auto", 65, "cuda") == "quick"
    assert choose_effort("paper", 32, "cpu") == "paper" and choose_effort("quick", 32, "cuda") == "quick"


def test_auto_explains_its_choice() -> None:
    method, reason = choose_method("auto", _card(0), "cuda")
    assert method == "ood" and "no BatchNorm" in reason
    method, reason = choose_method("auto", _card(13), "cuda")
    assert method == "fast" and "13 BatchNorm" in reason
    method, reason = choose_method("auto", _card(5, "ONNX", folded=True), "cuda")
    assert method == "ood" and "folded" in reason
    assert choose_method("auto", _card(13, "ONNX"), "cuda")[0] == "fast", "an export that kept them all"
    assert choose_method("auto", _card(13), "cpu", purifies=True)[0] == "fast"
    assert choose_method("auto", _card(13), "cpu") == choose_method("auto", _card(13), "cuda")
    for size, method in (((64, 64), "fast"), ((64, 65), "ood")):
        chosen, reason = choose_method("auto", dataclasses.replace(_card(13), input_size=size), "cpu")
        assert chosen == method and ("CPU" in reason) == (method == "ood")
    assert choose_method("zskt", _card(0), "cpu")[0] == "zskt"


def test_the_student_follows_from_the_image_size(teacher_file: str) -> None:
    teacher = open_teacher(teacher_file, FACTS)
    large = Teacher(teacher.network, type(teacher.spec)(224, 224, 3, 4, (0.5,) * 3, (0.5,) * 3), teacher.card)
    assert choose_student("auto", teacher) == "wrn-16-1"
    assert choose_student("auto", large) == "resnet18-imagenet"
    assert choose_student("wrn-40-2", large) == "wrn-40-2"
    assert choose_student("purified", large) == "purified"
    whole = dataclasses.replace(teacher.card, parameters=500_000_000)
    assert choose_student("purified", Teacher(teacher.network, teacher.spec, whole)) == "purified"
    huge = Teacher(teacher.network, teacher.spec, dataclasses.replace(whole, parameters=500_000_001))
    with pytest.raises(UsageError, match="too large to be purified"):
        choose_student("purified", huge)
    assert choose_student("auto", huge) == "wrn-16-1"


def test_a_teacher_that_cannot_be_exported_again_is_not_purified() -> None:
    graph = OneByOne(OnnxNetwork(nn.Linear(4, 2)), 1)
    teacher = Teacher(nn.Sequential(graph), ImageSpec(16, 16, 3, 2, (0.0,) * 3, (1.0,) * 3), _card(batchnorm_layers=0))
    assert choose_student("auto", teacher) == "wrn-16-1"
    with pytest.raises(UsageError, match="cannot be purified"):
        choose_student("purified", teacher)


def test_a_picture_that_no_source_would_use(make_plan: MakePlan) -> None:
    error = _refusal(make_plan(method="zskt", picture="any.png"))
    assert error.where == "--picture" and "zskt" in error.why

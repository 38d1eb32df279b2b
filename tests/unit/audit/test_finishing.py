"""The end of an audit: what the student lost of a class is found and reported."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from abd_app.audit.finishing import export_student
from abd_app.audit.folder import RunFolder
from abd_app.audit.opening import OpenAudit, _glance, open_audit
from abd_app.distill.sources import pictures
from abd_app.events import Event, FindingMade, Measured, TargetSearched
from abd_app.plan import AuditPlan, TriggerSpec

EACH = 30


def _opened(plan: AuditPlan) -> OpenAudit:
    run = open_audit(plan, RunFolder(plan))
    while True:
        try:
            next(run)
        except StopIteration as end:
            audit: OpenAudit = end.value
            return audit


@pytest.fixture
def own_images(make_plan: Callable[..., AuditPlan], tmp_path: Path) -> Path:
    """Folders named as classes, of noise that the teacher takes for them; of class 1 there is none."""
    network = _opened(make_plan(out=str(tmp_path / "before"))).network
    random = torch.Generator().manual_seed(0)
    images = (torch.rand(4000, 3, 1, 1, generator=random) * torch.rand(4000, 3, 8, 8, generator=random) * 255).byte()
    with torch.no_grad():
        answers = network(images.float() / 255).argmax(1)
    classes = [one for one in range(4) if (answers == one).sum() >= EACH and one != 1][:3]
    assert len(classes) >= 2
    chosen = torch.cat([(answers == one).nonzero()[:EACH, 0] for one in classes])
    path = tmp_path / "own.npz"
    pixels = images[chosen].permute(0, 2, 3, 1).numpy()
    np.savez(path, images=pixels, labels=answers[chosen].numpy(), classes=np.array(["ant", "bee", "cat", "dog"]))
    return path


def test_a_lost_class_is_a_finding_with_its_name_and_in_the_report(
    make_plan: Callable[..., AuditPlan], own_images: Path
) -> None:
    audit = _opened(make_plan(data=str(own_images)))
    lost = int(np.load(own_images)["labels"][-1])
    student = copy.deepcopy(audit.network)
    last = [module for module in student.modules() if isinstance(module, nn.Linear)][-1]
    with torch.no_grad():
        last.bias[lost] -= 1e4
    live = list(audit.measure(student, "student", 1, live=True))
    assert [event.accuracy_by_class for event in live] == [{}] and live[0].images > 0
    events: list[Event] = list(audit.measure(student, "student", 2))
    assert [event.role for event in events if isinstance(event, Measured)] == ["teacher", "student"]
    events += export_student(audit, student)
    (found,) = [event.finding for event in events if isinstance(event, FindingMade)]
    name = ("ant", "bee", "cat", "dog")[lost]
    assert found.title == f"The student lost much more of class {lost} ({name!r}) than of the others"
    metadata = onnx.load(str(Path(audit.plan.out) / "student.onnx")).metadata_props
    plan = json.loads(next(one.value for one in metadata if one.key == "plan"))
    assert (plan["data"], plan["teacher_file"], plan["picture"]) == ("own.npz", "teacher.pth", None)
    report = json.loads((Path(audit.plan.out) / "report.json").read_text())
    assert found.title in [one["title"] for one in report["findings"]]
    assert report["teacher"]["class_names"] == ["ant", "bee", "cat", "dog"]
    assert report["student"]["accuracy_by_class"][str(lost)] == 0.0
    assert report["teacher"]["accuracy_by_class"][str(lost)] == 1.0
    assert report["student"]["images_by_class"][str(lost)] == EACH and "1" not in report["student"]["images_by_class"]


def test_what_is_suspected_elsewhere_is_a_finding_and_in_the_report(
    make_plan: Callable[..., AuditPlan], own_images: Path
) -> None:
    """Of a trigger that leads nowhere: a blend of nothing."""
    harmless = (TriggerSpec("blend", opacity=0.01),)
    audit = _opened(make_plan(data=str(own_images), triggers=harmless, target_class=1))
    audit.record.target_search = TargetSearched(3, 0.001, (3,), (0, 1, 2, 3), (1.0, 1.0, 1.0, 9.0))
    list(audit.measure(audit.network, "student", 2))
    list(export_student(audit, audit.network))
    report = json.loads((Path(audit.plan.out) / "report.json").read_text())
    assert "Attacks were measured towards class 1, but class 3 is suspected" in [
        one["title"] for one in report["findings"]
    ]


def test_a_teacher_that_is_wrong_on_most_labelled_images_is_a_finding_once(
    make_plan: Callable[..., AuditPlan], own_images: Path, tmp_path: Path
) -> None:
    given = dict(np.load(own_images))
    classes = np.unique(given["labels"])
    given["labels"] = classes[(np.searchsorted(classes, given["labels"]) + 1) % len(classes)]
    np.savez(tmp_path / "wrong.npz", **given)
    events = []
    run = open_audit(plan := make_plan(data=str(tmp_path / "wrong.npz")), RunFolder(plan))
    with contextlib.suppress(StopIteration):
        while True:
            events.append(next(run))
    wrong = [one for one in events if isinstance(one, FindingMade) and "wrong on most" in one.finding.title]
    assert len(wrong) == 1 and "right on 0.0 %" in wrong[0].finding.detail


def test_a_run_that_goes_on_does_not_tell_it_again_with_another_figure(
    make_plan: Callable[..., AuditPlan], own_images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another device may give one, and both would be in the report."""
    audit = _opened(make_plan(data=str(own_images)))
    (scores,) = audit.measure(audit.network, "teacher", 0, live=True)
    told = []
    for accuracy in (0.1, 0.2):
        changed = replace(scores, accuracy=accuracy)
        monkeypatch.setattr(audit, "measure", lambda *_, live, changed=changed: iter([changed]))
        told += [event.finding.detail for event in _glance(audit) if isinstance(event, FindingMade)]
    assert len(told) == 1 and "10.0 %" in told[0]


def test_no_more_pictures_are_drawn_to_check_the_export_than_it_needs(
    make_plan: Callable[..., AuditPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_kept", {})
    audit = _opened(make_plan())
    list(export_student(audit, audit.network))
    assert [len(drawn) for drawn in pictures._kept.values()] == [3], "24 take half a minute and more for large images"

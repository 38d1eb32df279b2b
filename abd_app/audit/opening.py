"""The start of an audit: everything that the user gave is read before the long work begins."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from torch import nn

from abd_app.audit.choices import choose_effort, choose_method, choose_student
from abd_app.audit.folder import RunFolder
from abd_app.audit.inputs import check_unchanged
from abd_app.audit.pace import steps_within
from abd_app.audit.rehearsal import measure_pace
from abd_app.audit.scoring import NullScorer, Scorer, check_measures
from abd_app.audit.summary import Record
from abd_app.distill.compute.device import Compute, choose_compute, device_name
from abd_app.distill.compute.parallel import barrier, is_main_process
from abd_app.distill.recipe import Recipe, choose_recipe
from abd_app.distill.sources.pictures import load_picture
from abd_app.errors import UsageError
from abd_app.events import Event, FindingMade, Measured, MethodChosen, PhaseStarted, Role, RunBegan, TeacherInspected
from abd_app.export.doubts import finding_of_facts
from abd_app.intake import open_teacher
from abd_app.plan import PURIFIED, AuditPlan
from abd_app.teacher import Finding, Teacher

_FEWEST_STEPS = 20


@dataclass
class OpenAudit:
    """What the stages of one audit share.

    Attributes:
        network: The teacher's, on the device.
        checkpoint: Of an interrupted run that is being continued.
        started: ``time.monotonic()`` at the start, earlier sessions of a continued run counted in.
        teacher_measured: Whether the teacher has been, and on how many images: ``few`` or ``all``.
    """

    plan: AuditPlan
    compute: Compute
    teacher: Teacher
    network: nn.Module
    recipe: Recipe
    scorer: Scorer | NullScorer
    folder: RunFolder
    record: Record
    checkpoint: dict[str, Any] | None
    started: float
    teacher_measured: Literal["no", "few", "all"] = "no"

    def measure(self, network: nn.Module, role: Role, step: int, *, live: bool = False) -> Iterator[Measured]:
        """Scores of a network, kept for curves and report.

        The teacher's come first where there are none yet, or none from as many images: they take their time, and the
        student shall not have to wait for them before it begins.
        """
        on_all = not live or self.scorer.estimated
        if role == "teacher":
            self.teacher_measured = "all" if on_all else "few"
        elif self.teacher_measured == "no" or (on_all and self.teacher_measured == "few"):
            yield from self.measure(self.network, "teacher", 0, live=live)
        measured = self.scorer.measure(network, role, step, live=live)
        if role == "teacher":  # it does not change: the last measurement is the closest
            self.record.measured = [one for one in self.record.measured if one.role != "teacher"]
        self.record.measured.append(measured)
        yield measured

    def note(self, finding: Finding, *, about_images: bool = False) -> list[FindingMade]:
        """Keeps a finding for the report; the event that tells it, unless it is known, e.g. to a continued run."""
        if finding in self.record.findings:
            return []
        self.record.findings.append(finding)
        return [FindingMade(finding, about_images)]


def open_audit(plan: AuditPlan, folder: RunFolder) -> Generator[Event, None, OpenAudit]:
    """Reads teacher, pictures, evaluation images and checkpoint, and makes the remaining choices; measures the teacher.

    Raises:
        AuditError: Any of them cannot be used.
    """
    started = time.monotonic()
    compute = choose_compute(plan.device, plan.precision)
    checkpoint = folder.load_checkpoint()
    check_measures(plan)
    yield PhaseStarted("intake", "teacher", 0)
    teacher = open_teacher(plan.teacher_file, plan.facts)
    yield TeacherInspected(teacher.card)
    method, reason = _method(plan, teacher, compute, checkpoint, folder)
    yield MethodChosen(method, reason)
    _check_picture(plan.picture, method, teacher)
    student_name = choose_student(plan.student, teacher)
    network = compute.place(teacher.network)
    if plan.data is not None:
        yield PhaseStarted("measuring", "teacher", 0)
    scorer = Scorer(plan, teacher, network, compute) if is_main_process() else NullScorer()
    check_unchanged(checkpoint, scorer.inputs, folder.path)
    effort = _effort(plan, teacher, compute, checkpoint)
    recipe = _recipe(plan, method, effort, teacher, student_name, compute, checkpoint)
    barrier()  # until all have looked into the folder, which is refused once something is in it
    if is_main_process():
        folder.begin()
    yield _began(plan, checkpoint)
    device = device_name(compute.device)
    record = Record(method=method, method_reason=reason, effort=effort, student_name=student_name, device=device)
    if checkpoint is not None:
        started -= checkpoint["wall_s"]
        record.restore(checkpoint["record"])
    audit = OpenAudit(plan, compute, teacher, network, recipe, scorer, folder, record, checkpoint, started)
    yield from map(FindingMade, record.findings)  # which an earlier part of the run has made
    for finding in scorer.findings:
        yield from audit.note(finding, about_images=True)
    if not scorer.estimated:  # an estimate needs a long search; the others say at once if the teacher is of any use
        yield from _glance(audit)
    return audit


def _glance(audit: OpenAudit) -> Iterator[Event]:
    """The teacher on a few labelled images, and a finding where it is wrong on most."""
    for measured in audit.measure(audit.network, "teacher", 0, live=True):
        yield measured
        doubt = finding_of_facts(measured)
        if doubt is not None and all(doubt.title != known.title for known in audit.record.findings):
            yield from audit.note(doubt)  # once: another device may give a run that goes on another figure


def _began(plan: AuditPlan, checkpoint: dict[str, Any] | None) -> RunBegan:
    if checkpoint is None:
        checkpoints = plan.student != PURIFIED
        return RunBegan(plan.out, "resumed" if plan.resume else "new", checkpoints=checkpoints)
    measured = tuple(Measured(**one) for one in checkpoint["record"]["measured"])
    return RunBegan(plan.out, "resumed", checkpoint["role"], checkpoint["distillation"]["step"], measured=measured)


def _method(
    plan: AuditPlan, teacher: Teacher, compute: Compute, checkpoint: dict[str, Any] | None, folder: RunFolder
) -> tuple[str, str]:
    """The image source and why; a run that goes on keeps its own, and must have the same teacher."""
    if checkpoint is None:
        purifies = plan.student == PURIFIED
        return choose_method(plan.method, teacher.card, compute.device.type, purifies=purifies)
    if checkpoint["teacher_sha256"] != teacher.card.content:
        raise UsageError(
            "The teacher file has changed since the run was started.",
            where=plan.teacher_file,
            why=f"The checkpoint in {folder.path} belongs to a file with another SHA-256.",
            remedy="Put the original file back to continue, or start a new run in another folder.",
        )
    record = checkpoint["record"]
    return record["method"], record["method_reason"]


def _effort(plan: AuditPlan, teacher: Teacher, compute: Compute, checkpoint: dict[str, Any] | None) -> str:
    """What the plan's effort means; a run that goes on, perhaps on another device, keeps it."""
    if checkpoint is not None and "effort" in checkpoint["record"]:  # an earlier version had no "auto"
        return str(checkpoint["record"]["effort"])
    side_px = max(teacher.spec.height, teacher.spec.width)
    limited = plan.steps is not None or plan.minutes is not None
    return choose_effort(plan.effort, side_px, compute.device.type, limited=limited)


def _check_picture(path: str | None, method: str, teacher: Teacher) -> None:
    """Refuses a picture, if there is one, that cannot be used before the run has a folder."""
    if path is None:
        return
    if method not in ("fast", "ood"):
        raise UsageError(
            "The picture would not be used.",
            where="--picture",
            why=f"Only ood and fast cut patches from a picture; this run uses {method}.",
            remedy="Add --method ood, or leave the picture out.",
        )
    spec = teacher.spec
    load_picture(path, channels=spec.channels, smallest_px=max(spec.height, spec.width))


def _recipe(
    plan: AuditPlan,
    method: str,
    effort: str,
    teacher: Teacher,
    student_name: str,
    compute: Compute,
    checkpoint: dict[str, Any] | None,
) -> Recipe:
    """The recipe for the plan; minutes become steps by the pace of a few real ones, once for a run that goes on."""

    def of_steps(steps: int | None) -> Recipe:
        return choose_recipe(method, plan.defense, effort, steps)

    if checkpoint is not None:
        return of_steps(checkpoint["total_steps"])
    if plan.minutes is None:
        return of_steps(plan.steps)
    pace = measure_pace(teacher, of_steps(None), student_name, compute)
    return of_steps(steps_within(60 * plan.minutes, pace, of_steps, fewest=_FEWEST_STEPS))

"""The report of an audit as data."""

from __future__ import annotations

import datetime
import importlib.metadata
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from abd_app import __version__
from abd_app.events import Measured, TargetSearched, VaccineChecked
from abd_app.export.schema import (
    SCHEMA_VERSION,
    Report,
    ScoresReport,
    StudentReport,
    TargetSearchReport,
    TeacherReport,
    VaccineReport,
)
from abd_app.export.verdict import untested, verdict
from abd_app.plan import AuditPlan
from abd_app.teacher import Finding, Teacher

_PACKAGES = ("torch", "torchvision", "onnx", "onnxruntime", "onnxruntime-gpu", "numpy")


@dataclass
class Record:
    """What is collected while an audit runs."""

    method: str = ""
    method_reason: str = ""
    effort: str = ""
    student_name: str = ""
    device: str = ""
    steps: int = 0
    wall_s: float = 0.0
    stopped_early: bool = False
    twin_steps: int = 0
    student_parameters: int = 0
    parity_max_abs: float | None = None
    student_files: dict[str, str] = field(default_factory=dict)
    """SHA-256 by name of the files that hold the student."""
    vaccine: VaccineChecked | None = None
    target_search: TargetSearched | None = None
    defences: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    measured: list[Measured] = field(default_factory=list)
    student_weights: dict[str, Any] | None = None
    """Of a finished student while its twin is learning, on the CPU; part of the checkpoint."""

    def state(self) -> dict[str, Any]:
        """What a continued run needs of this, as plain values."""
        return {
            "method": self.method,
            "method_reason": self.method_reason,
            "effort": self.effort,
            "measured": [asdict(one) for one in self.measured if one.role != "teacher"],
            "findings": [asdict(finding) for finding in self.findings],
            "vaccine": None if self.vaccine is None else asdict(self.vaccine),
            "target_search": None if self.target_search is None else asdict(self.target_search),
            "steps": self.steps,
            "student_parameters": self.student_parameters,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Takes over :meth:`state`."""
        self.method, self.method_reason = state["method"], state["method_reason"]
        self.effort = state.get("effort", self.effort)  # an earlier version had none
        self.measured = [Measured(**one) for one in state["measured"]]
        self.findings = [Finding(**finding) for finding in state["findings"]]
        self.vaccine = None if state["vaccine"] is None else VaccineChecked(**state["vaccine"])
        search = state.get("target_search")  # an earlier version had none
        self.target_search = None if search is None else TargetSearched(**search)
        self.steps, self.student_parameters = state["steps"], state["student_parameters"]

    def last(self, role: str) -> Measured | None:
        """The latest measurement of ``role``."""
        return next((one for one in reversed(self.measured) if one.role == role), None)


def build_report(plan: AuditPlan, teacher: Teacher, record: Record, class_names: Sequence[str]) -> Report:
    """The content of ``report.json``; docs/report-schema.md explains it."""
    twin = record.last("twin")
    report: Report = {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "summary": "",
        "caution": "info",
        "not_tested": [],
        "estimated": plan.data is None,
        "target_class": plan.target_class,
        "teacher": _teacher(teacher, record.last("teacher"), class_names),
        "student": _student(record, "student", record.parity_max_abs, record.student_files),
        "twin": None if twin is None else {**_student(record, "twin", None, {}), "steps": record.twin_steps},
        "plan": plan.to_dict(),
        "method": record.method,
        "method_reason": record.method_reason,
        "seed": plan.seed,
        "device": record.device,
        "steps": record.steps,
        "wall_s": round(record.wall_s, 1),
        "stopped_early": record.stopped_early,
        "defences": record.defences,
        "vaccine": _vaccine(record.vaccine),
        "target_search": _target_search(record.target_search),
        "findings": [asdict(finding) for finding in (*teacher.card.findings, *record.findings)],  # type: ignore[misc]
        "versions": versions(),
    }
    report["summary"], report["caution"] = verdict(report)
    report["not_tested"] = untested(report)
    return report


def versions() -> dict[str, str]:
    """Versions of the app, of Python and of the libraries that computed the result."""
    found = {"abd-app": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def scores_of(measured: Measured | None) -> ScoresReport:
    """A measurement as the report has it; ``None``: nothing was measured."""
    if measured is None:
        return {
            "accuracy": None,
            "images": 0,
            "accuracy_by_class": {},
            "images_by_class": {},
            "asr": {},
            "asr_images": {},
            "asr_without_trigger": None,
        }
    return {
        "accuracy": measured.accuracy,
        "images": measured.images,
        "accuracy_by_class": measured.accuracy_by_class,
        "images_by_class": measured.images_by_class,
        "asr": measured.asr,
        "asr_images": measured.asr_images,
        "asr_without_trigger": measured.asr_without_trigger,
    }


def _teacher(teacher: Teacher, measured: Measured | None, class_names: Sequence[str]) -> TeacherReport:
    card, spec = teacher.card, teacher.spec
    return {
        "file": card.file,
        "sha256": card.sha256,
        "data_files": [{"file": file.name, "sha256": file.sha256} for file in card.data_files],
        "format": card.format,
        "architecture": card.architecture,
        "parameters": card.parameters,
        "num_classes": spec.num_classes,
        "class_names": list(class_names),
        "input_size": [spec.height, spec.width],
        "mean": list(spec.mean),
        "std": list(spec.std),
        **scores_of(measured),
    }


def _student(record: Record, role: str, parity: float | None, files: dict[str, str]) -> StudentReport:
    return {
        "architecture": record.student_name,
        "parameters": record.student_parameters,
        "onnx_parity_max_abs": parity,
        "files": files,
        **scores_of(record.last(role)),
    }


def _vaccine(checked: VaccineChecked | None) -> VaccineReport | None:
    if checked is None:
        return None
    return {"accepted": checked.accepted, "tail_ratio": checked.tail_ratio, "trials": checked.trials}


def _target_search(found: TargetSearched | None) -> TargetSearchReport | None:
    if found is None:
        return None
    return {
        "target": found.target,
        "p_value": found.p_value,
        "unlearned": list(found.unlearned),
        "margins": {str(one): margin for one, margin in zip(found.classes, found.margins, strict=True)},
        # Both are empty where they were not looked for.
        "bounded_margins": {str(one): far for one, far in zip(found.classes, found.bounded_margins, strict=False)},
        "bends": {str(one): share for one, share in zip(found.classes, found.bends, strict=False)},
        "all_to_all": found.all_to_all,
    }

"""A report of a run that never was."""

from __future__ import annotations

from typing import Any

from abd_app.export.schema import Report, StudentReport, TeacherReport
from abd_app.export.verdict import untested, verdict
from abd_app.plan import AuditPlan

_PLAN = AuditPlan("/home/maker/secret/teacher.pth", "/home/maker/secret/run", data="/home/maker/images")
TARGET_SEARCH = {
    "target": 3,
    "p_value": 0.0012,
    "unlearned": [3],
    "margins": {"0": 10.5, "3": 31.0},
    "bends": {},
    "all_to_all": None,
    "bounded_margins": {},
}


def a_student(accuracy: float | None = 0.93, asr: float = 0.01) -> StudentReport:
    """A student of one trigger."""
    return {
        "architecture": "wrn-16-1",
        "parameters": 175_000,
        "onnx_parity_max_abs": 2e-6,
        "accuracy": accuracy,
        "images": 1000,
        "accuracy_by_class": {"0": 0.95, "3": 0.5},
        "images_by_class": {"0": 900, "3": 100},
        "asr": {"sticker": asr},
        "asr_images": {"sticker": 900},
        "asr_without_trigger": 0.01,
        "files": {"student.onnx": "cd" * 32, "student.safetensors": "ef" * 32},
    }


def a_teacher() -> TeacherReport:
    """A teacher with a backdoor."""
    return {
        "file": "/home/maker/secret/teacher.pth",
        "sha256": "ab" * 32,
        "data_files": [],
        "format": "PyTorch",
        "architecture": "wrn-16-2",
        "parameters": 691_674,
        "num_classes": 8,
        "class_names": [],
        "input_size": [32, 32],
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
        "accuracy": 0.98,
        "images": 1000,
        "accuracy_by_class": {"0": 0.98, "3": 0.97},
        "images_by_class": {"0": 900, "3": 100},
        "asr": {"sticker": 0.99},
        "asr_images": {"sticker": 900},
        "asr_without_trigger": 0.01,
    }


def a_report(**changes: Any) -> Report:
    """A whole report; ``changes`` replace its fields."""
    report: Report = {
        "schema_version": 1,
        "created": "2026-11-20T12:00:00+00:00",
        "summary": "",
        "caution": "info",
        "not_tested": [],
        "estimated": False,
        "target_class": 3,
        "teacher": a_teacher(),
        "student": a_student(),
        "twin": None,
        "plan": _PLAN.to_dict(),
        "method": "ood",
        "method_reason": "The teacher has no BatchNorm.",
        "seed": 0,
        "device": "cpu",
        "steps": 2400,
        "wall_s": 200.4,
        "stopped_early": False,
        "defences": ["activation bounds", "self-retrospection", "random marks"],
        "vaccine": {"accepted": True, "tail_ratio": 0.031, "trials": 2},
        "target_search": TARGET_SEARCH,
        "findings": [],
        "versions": {"abd-app": "0.1.0", "torch": "2.15.0"},
    }
    report.update(changes)  # type: ignore[typeddict-item]
    report["summary"], report["caution"] = verdict(report)
    report["not_tested"] = untested(report)
    return report

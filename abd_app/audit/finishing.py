"""The end of an audit: the student's files and the report."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import torch
from torch import nn

from abd_app.audit.defences import defences_that_acted
from abd_app.audit.opening import OpenAudit
from abd_app.audit.summary import build_report, scores_of, versions
from abd_app.distill.sources.pictures import procedural_patches
from abd_app.events import AuditFinished, Event, PhaseStarted, StudentExported
from abd_app.export.curves import write_curves
from abd_app.export.doubts import finding_of_goal
from abd_app.export.onnx_student import export_onnx, save_weights
from abd_app.export.report import plain, write_report
from abd_app.export.shareable import without_folders
from abd_app.export.weak_classes import finding_of_classes
from abd_app.run_files import file_sha256

PARITY_IMAGES, _PARITY_PICTURES = 256, 3


def export_student(audit: OpenAudit, student: nn.Module) -> Iterator[Event]:
    """Writes ``student.onnx`` (checked), ``student.safetensors``, curves and report into the run's folder."""
    astray = finding_of_goal(audit.record.target_search, audit.plan.target_class, audit.record.last("teacher"))
    before, after, twin = (scores_of(audit.record.last(role)) for role in ("teacher", "student", "twin"))
    weak = finding_of_classes(before, after, twin, audit.scorer.class_names)
    for finding in filter(None, (astray, weak)):
        yield from audit.note(finding)
    yield PhaseStarted("export", "student", audit.record.steps)
    folder, spec = audit.folder.path, audit.teacher.spec
    metadata = {
        "input_size": json.dumps([spec.height, spec.width]),
        **({"label_names": json.dumps(audit.scorer.class_names)} if audit.scorer.class_names else {}),
        "teacher_sha256": audit.teacher.card.content,
        "plan": json.dumps(without_folders(audit.plan.to_dict())),
        "versions": json.dumps(versions()),
    }
    with audit.folder.writing():
        weights, path = folder / "student.safetensors", folder / "student.onnx"
        save_weights(student, weights, metadata=metadata)
        images = procedural_patches(PARITY_IMAGES, spec, seed=audit.plan.seed, pictures_count=_PARITY_PICTURES)
        audit.record.parity_max_abs = export_onnx(student, spec, path, metadata=metadata, images=images)
        audit.record.student_files = {file.name: file_sha256(file) for file in (path, weights)}
        yield StudentExported(str(path), audit.record.parity_max_abs, PARITY_IMAGES)
        write_curves(audit.record.measured, folder)
        audit.record.wall_s = time.monotonic() - audit.started
        audit.record.defences = defences_that_acted(audit)
        report = build_report(audit.plan, audit.teacher, audit.record, audit.scorer.class_names)
        write_report(report, folder)
    if audit.compute.device.type == "cuda":
        torch.cuda.empty_cache()
    yield AuditFinished(str(folder), plain(report))

"""The shape of ``report.json`` and of ``--json``; docs/report-schema.md explains it field by field."""

from __future__ import annotations

from typing import Any, TypedDict

from abd_app.plan import Target
from abd_app.teacher import Severity

SCHEMA_VERSION = 1


class ScoresReport(TypedDict):
    """Rates in [0, 1] with their denominators, by class index and by trigger; ``None``: not measured."""

    accuracy: float | None
    images: int
    accuracy_by_class: dict[str, float]
    images_by_class: dict[str, int]
    asr: dict[str, float]
    asr_images: dict[str, int]
    asr_without_trigger: float | None


class DataFileReport(TypedDict):
    """A file beside the teacher file that holds weights of it; ``file`` is its bare name."""

    file: str
    sha256: str


class TeacherReport(ScoresReport):
    """The teacher file and what it scored; ``input_size`` is [height, width] in pixels.

    ``class_names`` are those of the file, or else of the labelled images; empty if neither has any.
    """

    file: str
    sha256: str
    data_files: list[DataFileReport]
    format: str
    architecture: str | None
    parameters: int
    num_classes: int
    class_names: list[str]
    input_size: list[int]
    mean: list[float]
    std: list[float]


class StudentReport(ScoresReport):
    """A student; ``files`` are those that hold it, by name, with their SHA-256, hexadecimal.

    For one that is not exported, the twin, ``onnx_parity_max_abs`` is ``None`` and there are no ``files``.
    """

    architecture: str
    parameters: int
    onnx_parity_max_abs: float | None
    files: dict[str, str]


class TwinReport(StudentReport):
    """The undefended student, with the steps that it has learned for."""

    steps: int


class VaccineReport(TypedDict):
    """Outcome of the vaccine check."""

    accepted: bool
    tail_ratio: float | None
    trials: int


class TargetSearchReport(TypedDict):
    """As :class:`abd_app.events.TargetSearched`; margins and ``bends`` by class index."""

    target: int | None
    p_value: float
    unlearned: list[int]
    margins: dict[str, float]
    bounded_margins: dict[str, float]
    bends: dict[str, float]
    all_to_all: float | None


class FindingReport(TypedDict):
    """As :class:`abd_app.teacher.Finding`."""

    severity: Severity
    title: str
    detail: str


class Report(TypedDict):
    """One audit.

    ``estimated`` tells that no labelled images were given: then every ``accuracy`` is the agreement with the teacher
    on synthetic images, and every ``asr`` that of triggers that a short search found on the teacher. With
    the ``target_class`` ``all``, each class for the next, ``asr`` counts all images. ``caution`` is that of
    :class:`abd_app.export.verdict.Verdict`.
    """

    schema_version: int
    created: str
    summary: str
    caution: Severity
    not_tested: list[str]
    estimated: bool
    target_class: Target
    teacher: TeacherReport
    student: StudentReport
    twin: TwinReport | None
    plan: dict[str, Any]
    method: str
    method_reason: str
    seed: int
    device: str
    steps: int
    wall_s: float
    stopped_early: bool
    defences: list[str]
    vaccine: VaccineReport | None
    target_search: TargetSearchReport | None
    findings: list[FindingReport]
    versions: dict[str, str]

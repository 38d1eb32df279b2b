"""What is remembered of a run, and what of it a continued run gets back."""

from __future__ import annotations

import io

import torch

from abd_app.audit.summary import Record, _target_search, versions
from abd_app.events import Measured, Role, TargetSearched, VaccineChecked
from abd_app.teacher import Finding


def _measured(role: Role, step: int) -> Measured:
    return Measured(role, step, 0.5, 10, {"blend": 0.25}, {"blend": 8})


def _record() -> Record:
    record = Record(method="ood", student_name="wrn-16-1", steps=30, student_parameters=7)
    record.measured = [_measured("teacher", 0), _measured("student", 10), _measured("student", 20)]
    record.findings = [Finding("warning", "Shuffling Vaccine is off", "Why.")]
    record.vaccine = VaccineChecked(True, 0.03, 2, ("a", "b"))
    record.target_search = TargetSearched(3, 0.001, (), (0, 3), (10.0, 30.0))
    return record


def test_a_continued_run_gets_everything_back_but_the_teachers_scores() -> None:
    stored = io.BytesIO()
    torch.save(_record().state(), stored)
    stored.seek(0)
    restored = Record()
    restored.restore(torch.load(stored, weights_only=True))
    assert restored.measured == _record().measured[1:]
    assert restored.findings == _record().findings
    assert (restored.steps, restored.student_parameters) == (30, 7)
    assert restored.vaccine is not None and tuple(restored.vaccine.layers) == ("a", "b")
    assert restored.target_search == _record().target_search


def test_the_report_has_what_the_searches_gave_by_class() -> None:
    found = TargetSearched(None, 0.4, (0, 5), (0, 5), (10.0, 30.0), (0.1, 0.2), 0.41, (9.0, 11.0))
    assert _target_search(found) == {
        "target": None,
        "p_value": 0.4,
        "unlearned": [0, 5],
        "margins": {"0": 10.0, "5": 30.0},
        "bends": {"0": 0.1, "5": 0.2},
        "all_to_all": 0.41,
        "bounded_margins": {"0": 9.0, "5": 11.0},
    }
    assert _target_search(None) is None


def test_the_latest_measurement_of_a_role_counts() -> None:
    last = _record().last("student")
    assert last is not None and last.step == 20
    assert _record().last("twin") is None


def test_versions_name_what_computed_the_result() -> None:
    assert {"abd-app", "python", "torch", "onnx", "numpy"} <= versions().keys()

"""Whoever starts a run of hours is told before."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from abd_app.audit import long_runs
from abd_app.events import FindingMade
from abd_app.teacher import ImageSpec


def _warned(monkeypatch: pytest.MonkeyPatch, seconds: float, *, side: int = 224, **changes: Any) -> list[FindingMade]:
    pace = SimpleNamespace(seconds=lambda recipe: seconds, seconds_before_first_step=lambda recipe: seconds / 2)
    monkeypatch.setattr(long_runs, "measure_pace", lambda *parts: pace)
    spec = ImageSpec(side, side, 3, 10, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    audit: Any = SimpleNamespace(
        teacher=SimpleNamespace(spec=spec),
        plan=SimpleNamespace(minutes=changes.get("minutes"), compare=changes.get("compare", False)),
        compute=SimpleNamespace(device=SimpleNamespace(type=changes.get("device", "cpu"))),
        recipe=SimpleNamespace(retrospection=changes.get("retrospection", "teacher")),
        record=SimpleNamespace(student_name="wrn-16-1"),
    )
    return [event for event in long_runs.warn_of_long_run(audit) if isinstance(event, FindingMade)]


@pytest.mark.parametrize(("seconds", "told"), [(4000.0, "67 min"), (4 * 3600.0, "4 h")])
def test_a_long_run_is_said_to_be_one(monkeypatch: pytest.MonkeyPatch, seconds: float, told: str) -> None:
    (said,) = _warned(monkeypatch, seconds)
    assert said.finding.severity == "warning" and f"about {told} on this CPU" in said.finding.title
    assert "before its first step" in said.finding.detail and "twin" not in said.finding.detail


@pytest.mark.parametrize(("retrospection", "advised"), [("teacher", True), ("none", False), ("paper", False)])
def test_what_is_advised_is_what_would_help(monkeypatch: pytest.MonkeyPatch, retrospection: str, advised: bool) -> None:
    (said,) = _warned(monkeypatch, 4000.0, retrospection=retrospection, compare=True)
    assert ("--defense sv" in said.finding.detail) == advised and "The twin" in said.finding.detail


def test_of_several_processes_none_rehearses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(long_runs, "world_size", lambda: 2)
    assert _warned(monkeypatch, 4000.0) == []


@pytest.mark.parametrize("changes", [{"minutes": 5.0}, {"device": "cuda"}, {"side": 64}])
def test_where_it_is_short_or_asked_for_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    assert _warned(monkeypatch, 4000.0, **changes) == []
    assert _warned(monkeypatch, long_runs.LONG_S - 1) == []

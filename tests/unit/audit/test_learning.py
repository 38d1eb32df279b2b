"""What is said and kept while a student learns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from abd_app.audit import run_audit
from abd_app.distill.sources import pictures
from abd_app.events import CheckpointSaved, FindingMade, PhaseAdvanced, PhaseStarted, StepDone
from abd_app.plan import AuditPlan


@pytest.mark.parametrize(("student", "told"), [("wrn-16-1", 0), ("mobilenetv3-small", 1)])
def test_attention_that_cannot_be_transferred_is_told(
    make_plan: Callable[..., AuditPlan], student: str, told: int
) -> None:
    run, findings = run_audit(make_plan(method="zskt", student=student, defense="none")), []
    for event in run:
        if isinstance(event, StepDone):
            break
        if isinstance(event, FindingMade):
            findings.append(event.finding.title)
    run.close()
    assert findings.count("Attention transfer is off") == told


def test_a_run_can_be_cancelled_while_pictures_are_drawn(
    make_plan: Callable[..., AuditPlan], data_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_kept", {})
    run = run_audit(make_plan(method="ood", data=data_file))
    share = next(event.share for event in run if isinstance(event, PhaseAdvanced))
    run.close()
    assert share == 1 / 24 and not pictures._kept


@pytest.mark.parametrize(
    ("choices", "phase", "sets"),
    [
        ({"method": "ood"}, "preparing", 1),
        ({"method": "zskt", "defense": "abd"}, "preparing", 1),
        ({"method": "zskt", "defense": "none", "data": None}, "preparing", 1),
        ({"method": "ood", "data": None}, "preparing", 2),
        ({"student": "purified", "steps": None}, "self-retrospection", 1),
    ],
    ids=["patches", "the search for a backdoor", "an estimate", "patches and an estimate", "a purified teacher"],
)
def test_whatever_takes_pictures_says_how_many_are_drawn(
    make_plan: Callable[..., AuditPlan],
    data_file: str,
    monkeypatch: pytest.MonkeyPatch,
    choices: dict[str, object],
    phase: str,
    sets: int,
) -> None:
    monkeypatch.setattr(pictures, "_kept", {})
    monkeypatch.setattr(pictures, "PROCEDURAL_PICTURES", 2)
    said: list[tuple[str, float]] = []
    seen = ""
    run = run_audit(make_plan(**{"data": data_file, **choices}))
    for event in run:
        if isinstance(event, PhaseStarted):
            seen = event.phase
        if isinstance(event, PhaseAdvanced):
            said.append((seen, event.share))
        elif said:
            break
    run.close()
    shares = [(one + 1) / (2 * sets) for one in range(2 * sets)]
    assert said == [(phase, share) for share in shares] and len(pictures._kept) == sets


def test_a_run_that_goes_on_draws_nothing_that_only_the_search_takes(
    make_plan: Callable[..., AuditPlan], data_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = make_plan(method="zskt", defense="abd", data=data_file, steps=20)
    monkeypatch.setattr(pictures, "PROCEDURAL_PICTURES", 2)
    run = run_audit(plan, checkpoint_wanted=lambda: True)
    assert next(event for event in run if isinstance(event, CheckpointSaved))
    run.close()
    monkeypatch.setattr(pictures, "_kept", {})
    run = run_audit(replace(plan, resume=True))
    assert next(event for event in run if isinstance(event, StepDone)).step > 0
    run.close()
    assert not pictures._kept

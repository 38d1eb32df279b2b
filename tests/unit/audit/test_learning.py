"""What is said and kept while a student learns."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from abd_app.audit import run_audit
from abd_app.distill.sources import pictures
from abd_app.events import FindingMade, PhaseAdvanced, PhaseStarted, StepDone
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


def test_pictures_are_drawn_one_by_one_and_a_run_can_be_cancelled_meanwhile(
    make_plan: Callable[..., AuditPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_kept", {})
    run, shares = run_audit(make_plan(method="ood", seed=41)), list[float]()
    phase = ""
    for event in run:
        if isinstance(event, PhaseStarted):
            phase = event.phase
        if isinstance(event, PhaseAdvanced):
            assert phase == "preparing"
            shares.append(event.share)
            if len(shares) == 2:
                break
    run.close()
    assert shares == [1 / 24, 2 / 24] and not pictures._kept

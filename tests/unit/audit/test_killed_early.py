"""What a run leaves that was killed before it wrote its plan is in nobody's way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from abd_app.audit.folder import RunFolder
from abd_app.errors import UsageError
from abd_app.plan import AuditPlan
from abd_app.run_files import RunLock

MakePlan = Callable[..., AuditPlan]


def test_a_folder_in_which_a_run_was_killed_before_its_plan_was_written_counts_as_empty(make_plan: MakePlan) -> None:
    plan = make_plan()
    out = Path(plan.out)
    (out / "checkpoint").mkdir(parents=True)
    (out / "checkpoint" / ".lock").touch()
    (out / ".plan.json.12345.part").write_text("{")
    with pytest.raises(UsageError, match="no run to continue") as caught:
        RunFolder(dataclasses.replace(plan, resume=True))
    assert "ended before writing it" in caught.value.why and "leave --resume out" in caught.value.remedy
    with RunFolder(plan) as folder:
        folder.begin()
        with pytest.raises(UsageError, match="in use"):
            RunFolder(plan)
    assert sorted(path.name for path in out.iterdir()) == ["checkpoint", "plan.json"]


@pytest.mark.parametrize("kept", ["checkpoint/state.pt", "checkpoint/notes.txt", ".notes.txt"])
def test_a_folder_with_anything_else_in_it_is_in_use(make_plan: MakePlan, kept: str) -> None:
    plan = make_plan()
    path = Path(plan.out) / kept
    (Path(plan.out) / "checkpoint").mkdir(parents=True)
    path.touch()
    with pytest.raises(UsageError, match="in use"):
        RunFolder(plan)


def test_a_run_that_is_about_to_write_its_plan_is_not_disturbed(make_plan: MakePlan) -> None:
    plan = make_plan()
    (Path(plan.out) / "checkpoint").mkdir(parents=True)
    part = Path(plan.out) / ".plan.json.12345.part"
    part.touch()
    lock = RunLock(Path(plan.out))
    lock.acquire()
    with pytest.raises(UsageError, match="still going on"), RunFolder(plan) as folder:
        folder.begin()
    assert part.exists()
    lock.release()

"""``abd-app demo``: the plan of the built-in teacher, into a folder of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from abd_app import cli
from abd_app.events import AuditFinished, Event, RunBegan
from abd_app.plan import AuditPlan

REPORT: dict[str, Any] = {"summary": "The student kept most."}


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[AuditPlan]:
    """The plans that were run, in an empty folder."""
    seen: list[AuditPlan] = []

    def run_audit(plan: AuditPlan, **_: object) -> Iterator[Event]:
        seen.append(plan)
        yield AuditFinished(plan.out, REPORT)

    module = ModuleType("abd_app.audit")
    module.run_audit = run_audit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "abd_app.audit", module)
    monkeypatch.chdir(tmp_path)
    return seen


def demo(*words: str) -> int:
    return cli.run(["demo", *words], open_window=lambda *_: 0)


def test_a_demo_never_takes_a_folder_that_is_there(plans: list[AuditPlan], capsys: pytest.CaptureFixture[str]) -> None:
    Path("abd-demo").mkdir()
    assert demo("--seed", "3") == 0
    (plan,) = plans
    assert (plan.out, plan.seed, plan.compare, plan.resume) == ("abd-demo-2", 3, True, False)
    assert capsys.readouterr().out == "The student kept most.\nThe student and its report are in abd-demo-2\n"


@pytest.mark.parametrize(
    ("there", "words", "out"),
    [
        ((), (), "abd-demo"),
        (("abd-demo",), (), "abd-demo"),
        (("abd-demo", "abd-demo-2", "abd-demo-3"), (), "abd-demo-3"),  # of several the newest
        (("abd-demo",), ("--out", "mine"), "mine"),
    ],
)
def test_a_demo_that_was_interrupted_goes_on(
    plans: list[AuditPlan], there: tuple[str, ...], words: tuple[str, ...], out: str
) -> None:
    for folder in there:
        Path(folder).mkdir()
    assert demo("--resume", *words) == 0
    assert [(plan.out, plan.resume) for plan in plans] == [(out, True)]


def test_an_interrupted_demo_names_the_command_that_goes_on(
    plans: list[AuditPlan], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_audit(plan: AuditPlan, **_: object) -> Iterator[Event]:
        Path(plan.out).mkdir()
        Path(plan.out, "plan.json").touch()
        yield RunBegan(plan.out, "new")
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["abd_app.audit"], "run_audit", run_audit)
    Path("abd-demo").mkdir()
    assert demo("--seed", "3") == 130
    assert "Continue it with abd-app demo --out abd-demo-2 --seed 3 --resume." in capsys.readouterr().err

"""Ctrl+C: what is kept, and what the user is told."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Generator
from pathlib import Path
from types import ModuleType

import pytest

from abd_app import cli
from abd_app.cli.interrupts import terminable
from abd_app.events import AuditFinished, CheckpointSaved, Event, PhaseStarted, RunBegan, StepDone
from abd_app.plan import AuditPlan


class SignalledAudit:
    """Stands in for ``abd_app.audit``: learns, gets a signal at some event, and writes a checkpoint if asked to."""

    def __init__(self, *events: Event, at: int, number: signal.Signals, times: int = 1, ignores: bool = False) -> None:
        self._events, self._at, self._number, self._times, self._ignores = events, at, number, times, ignores
        self.seen: list[Event] = []

    def run_audit(self, plan: AuditPlan, *, checkpoint_wanted: Callable[[], bool]) -> Generator[Event, None, None]:
        checkpoint = Path(plan.out) / "checkpoint"
        for place, event in enumerate(self._events):
            if place == self._at:
                for _ in range(self._times):
                    signal.raise_signal(self._number)
            self.seen.append(event)
            yield event
            if isinstance(event, StepDone) and checkpoint_wanted() and not self._ignores:
                checkpoint.mkdir(parents=True)
                (checkpoint / "state.pt").touch()
                (checkpoint.parent / "plan.json").touch()
                yield CheckpointSaved("student", event.step)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[SignalledAudit], int]:
    def run(audit: SignalledAudit) -> int:
        module = ModuleType("abd_app.audit")
        module.run_audit = audit.run_audit  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "abd_app.audit", module)
        return cli.run(["distill", "t.pt", "--out", str(tmp_path / "r")], open_window=lambda *_: 0)

    return run


def _events(tmp_path: Path) -> list[Event]:
    steps = [StepDone("student", step, 9, step / 9) for step in (1, 2, 3)]
    return [RunBegan(str(tmp_path / "r"), "new"), PhaseStarted("distilling", "student", 0), *steps]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_one_while_a_student_learns_waits_for_the_step_and_keeps_it(
    run: Callable[[SignalledAudit], int], tmp_path: Path, capfd: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    audit = SignalledAudit(*_events(tmp_path), at=3, number=number)
    assert run(audit) == 130
    assert audit.seen[-1] == StepDone("student", 2, 9, 2 / 9), "no further step is begun"
    said = capfd.readouterr().err
    assert "stopping at a checkpoint" in said
    assert "Cancelled at step 2 of 9 of the student." in said
    assert str(tmp_path / "r") in said and "--resume" in said
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_second_one_ends_at_once(
    run: Callable[[SignalledAudit], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = SignalledAudit(*_events(tmp_path), at=3, number=signal.SIGINT, times=2)
    assert run(audit) == 130
    said = capsys.readouterr().err
    assert "Cancelled at step 1 of 9 of the student." in said
    assert "nothing is left of the run" in said and "--resume" not in said


@pytest.mark.parametrize(
    "events",
    [
        pytest.param([], id="nothing is learned yet"),
        pytest.param([StepDone("student", 0, 9, 0.0)], id="a search goes on"),
        pytest.param([StepDone("student", 9, 9, 1.0), CheckpointSaved("student", 9)], id="all is saved"),
    ],
)
def test_where_nothing_would_be_lost_there_is_nothing_to_wait_for(
    run: Callable[[SignalledAudit], int], tmp_path: Path, capfd: pytest.CaptureFixture[str], events: list[Event]
) -> None:
    before = [RunBegan(str(tmp_path / "r"), "new"), *events]
    audit = SignalledAudit(
        *before, PhaseStarted("measuring", "student", 9), at=len(before), number=signal.SIGTERM, ignores=True
    )
    assert run(audit) == 130
    assert audit.seen == before
    said = capfd.readouterr().err
    assert "abd-app: Cancelled" in said and "stopping at" not in said


def test_a_run_without_checkpoints_is_not_waited_for(run: Callable[[SignalledAudit], int], tmp_path: Path) -> None:
    began = RunBegan(str(tmp_path / "r"), "new", checkpoints=False)
    step = StepDone("student", 5, 9, 0.5)
    audit = SignalledAudit(began, step, step, at=2, number=signal.SIGINT, ignores=True)
    assert run(audit) == 130
    assert audit.seen == [began, step]


def test_what_is_left_without_a_checkpoint_is_told(
    run: Callable[[SignalledAudit], int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "plan.json").touch()
    audit = SignalledAudit(*_events(tmp_path), at=1, number=signal.SIGINT)
    assert run(audit) == 130
    said = capsys.readouterr().err
    assert "start from the beginning" in said and "--resume" in said


def test_a_signal_that_is_ignored_stays_ignored(run: Callable[[SignalledAudit], int], tmp_path: Path) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        audit = SignalledAudit(*_events(tmp_path), AuditFinished("r", {"summary": "."}), at=2, number=signal.SIGINT)
        assert run(audit) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_sigterm_ends_a_command_as_control_c_does_so_that_it_cleans_up() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), terminable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before

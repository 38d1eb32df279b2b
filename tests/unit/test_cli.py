from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from abd_app import __version__, cli, console
from abd_app.command import plan_to_command
from abd_app.errors import AuditError, MissingFactsError, RunFailedError, TeacherRefusedError, UsageError
from abd_app.events import AuditFinished, Event, Measured, PhaseStarted, StepDone, TeacherInspected
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec
from abd_app.plan_paths import with_absolute_paths
from abd_app.teacher import Finding, Question, TeacherCard

CARD = TeacherCard(
    file="teacher.pt",
    sha256="ab" * 32,
    size_bytes=1234,
    format="state_dict",
    architecture="wrn-16-2",
    num_classes=10,
    channels=3,
    input_size=None,
    mean=None,
    std=None,
    answers="logits",
    parameters=691_674,
    batchnorm_layers=13,
    class_names=("stop\x1b[31m", "go"),
    findings=(Finding("info", "Small"), Finding("danger", "Odd", "Very odd.")),
    questions=(Question("input_size", "How large?", "32x32", "usual for it", "--size HxW"),),
)
REPORT: dict[str, Any] = {"summary": "The student kept most.", "student": {"accuracy": 0.9}, "findings": []}


class Audit:
    """Stands in for ``abd_app.audit``: a stream of events, and a record of what was asked."""

    def __init__(self, *events: Event | AuditError | Exception) -> None:
        self.events = events
        self.plan: AuditPlan | None = None
        self.facts: TeacherFacts | None = None
        self.held: Iterator[Event] = iter(())
        self.closed = False

    def run_audit(self, plan: AuditPlan, **_: object) -> Iterator[Event]:
        self.plan = plan
        self.held = self._stream()  # a generator that is still referenced closes only if somebody closes it
        return self.held

    def run_inspection(self, file: str, facts: TeacherFacts) -> Iterator[Event]:
        self.facts = facts
        self.held = self._stream()
        return self.held

    def _stream(self) -> Iterator[Event]:
        try:
            for event in self.events:
                print("chatter of a library")
                if isinstance(event, Exception):
                    raise event
                yield event
        finally:
            self.closed = True


@pytest.fixture
def use_audit(monkeypatch: pytest.MonkeyPatch) -> Callable[[Audit], Audit]:
    def use(audit: Audit) -> Audit:
        module = ModuleType("abd_app.audit")
        module.run_audit = audit.run_audit  # type: ignore[attr-defined]
        module.run_inspection = audit.run_inspection  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "abd_app.audit", module)
        return audit

    return use


UseAudit = Callable[[Audit], Audit]


def run(*arguments: str) -> int:
    def no_window(file: str | None, demo: bool) -> int:
        raise AssertionError("nobody asked for a window")

    return cli.run(arguments, open_window=no_window)


def test_help_and_version_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "distill" in capsys.readouterr().out
    assert run("--version") == 0
    assert capsys.readouterr().out == f"abd-app {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "opened"),
    [
        ((), (None, False)),
        (("gui",), (None, False)),
        (("gui", "--demo"), (None, True)),
        (("gui", __file__), (__file__, False)),
    ],
)
def test_the_window_opens_with_what_was_asked(
    arguments: tuple[str, ...], opened: tuple[str | None, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    seen: list[tuple[str | None, bool]] = []

    def open_window(file: str | None, demo: bool) -> int:
        seen.append((file, demo))
        return 7

    assert cli.run(arguments, open_window=open_window) == 7
    assert seen == [opened]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere there is always a display")
def test_without_a_display_the_window_names_the_terminal_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    assert run() == 2
    assert "abd-app distill" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("distill", "t.pt", "--out", "r", "--method", "dafl"), "auto, cmi, fast, ood, zskt"),
        (("distill", "t.pt", "--out", "r", "--size", "huge"), "32x32"),
        (("distill", "t.pt", "--out", "r", "--mean", "a,b,c", "--std", "1,1,1"), "--mean"),
        (("distill", "t.pt", "--out", "r", "--trigger", "sig,colour=red"), "opacity"),
        (("distill", "t.pt", "--out", "r", "--steps", "2", "--minutes", "3"), "--steps, --minutes"),
        (("inspect", "t.pt", "--answers", "poems"), "probabilities"),
        (("distill", "t.pt"), "--out"),
        (("distill", "", "--out", "r"), "name of the teacher is empty"),
        (("inspect", ""), "name of the teacher is empty"),
        (("batch", "t.pt", " ", "--out", "r"), "name of the teacher is empty"),
        (("distill", "t.pt", "--out", ""), "no name"),
        (("batch", "t.pt", "--out", " "), "no name"),
        (("make-teacher", "t.npz", "--out", ""), "no name"),
        (("distill", "t.pt", "--out", "r", "--classes", "many"), "--classes"),
        (("gui", "no-such-file.pt"), "no-such-file.pt"),
        (("teleport",), "teleport"),
    ],
)
def test_bad_usage_is_exit_2_with_a_hint_and_no_traceback(
    arguments: tuple[str, ...], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments) == 2
    printed = capsys.readouterr()
    assert hint in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_json_is_alone_on_stdout(use_audit: UseAudit, capsys: pytest.CaptureFixture[str]) -> None:
    measured = Measured("student", 2, 0.9, 100, {"sig": 0.01}, {"sig": 90})
    use_audit(Audit(PhaseStarted("distilling", "student", 0), measured, AuditFinished("r", REPORT)))
    assert run("distill", "t.pt", "--out", "r", "--json") == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == REPORT
    assert "accuracy 0.900 of 100" in printed.err
    assert "ASR sig 0.010 of 90" in printed.err


def test_progress_is_sparse_where_no_line_can_be_updated(
    use_audit: UseAudit, capsys: pytest.CaptureFixture[str]
) -> None:
    steps = [StepDone("student", step, 1000, step / 1000) for step in range(1, 1001)]
    use_audit(Audit(PhaseStarted("distilling", "student", 0), *steps, AuditFinished("r", REPORT)))
    assert run("distill", "t.pt", "--out", "r") == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("student: step")]
    assert told[-1] == "student: step 1000 of 1000, 100 %"
    assert 2 <= len(told) <= 10


def test_estimates_are_called_estimates(use_audit: UseAudit, capsys: pytest.CaptureFixture[str]) -> None:
    use_audit(Audit(Measured("student", 2, 0.9, 100, {}, {}, estimated=True), AuditFinished("r", REPORT)))
    assert run("distill", "t.pt", "--out", "r") == 0
    assert "agreement with the teacher 0.900 of 100 (estimated)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [(UsageError, 2), (MissingFactsError, 2), (TeacherRefusedError, 3), (RunFailedError, 4)],
)
def test_a_failure_is_one_message_and_its_exit_code(
    error: type[AuditError], code: int, use_audit: UseAudit, capsys: pytest.CaptureFixture[str]
) -> None:
    audit = use_audit(Audit(error("It broke.", where="there", why="Rust.", remedy="Oil it.")))
    assert run("distill", "t.pt", "--out", "r", "--json") == code
    printed = capsys.readouterr()
    assert "abd-app: It broke.\n  where: there\n  why: Rust.\n  what to do: Oil it.\n" in printed.err
    assert printed.out == ""
    assert audit.closed


def test_the_unexpected_is_exit_4_and_a_traceback_only_for_who_asks(
    use_audit: UseAudit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ABD_APP_DEBUG", raising=False)
    use_audit(Audit(ZeroDivisionError("oh")))
    assert run("distill", "t.pt", "--out", "r") == 4
    quiet = capsys.readouterr().err
    assert "ZeroDivisionError: oh" in quiet
    assert "Traceback" not in quiet
    monkeypatch.setenv("ABD_APP_DEBUG", "")
    assert run("--debug", "distill", "t.pt", "--out", "r") == 4
    assert "Traceback" in capsys.readouterr().err


def test_a_full_memory_is_told_as_such(use_audit: UseAudit, capsys: pytest.CaptureFixture[str]) -> None:
    use_audit(Audit(RuntimeError("DefaultCPUAllocator: can't allocate memory")))
    assert run("distill", "t.pt", "--out", "r") == 4
    told = capsys.readouterr().err
    assert "ran out of memory" in told and "Close other programs" in told and "report it" not in told


def test_an_audit_without_a_result_is_a_failure(use_audit: UseAudit, capsys: pytest.CaptureFixture[str]) -> None:
    use_audit(Audit(PhaseStarted("distilling", "student", 0)))
    assert run("distill", "t.pt", "--out", "r", "--json") == 4
    assert capsys.readouterr().out == ""


def test_control_c_closes_the_audit_and_says_cancelled(
    use_audit: UseAudit, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(self: object, event: Event) -> None:
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(console.ProgressPrinter, "show", interrupt)
    audit = use_audit(Audit(PhaseStarted("distilling", "student", 0), AuditFinished("r", REPORT)))
    assert run("distill", "t.pt", "--out", "r", "--json") == 130
    printed = capsys.readouterr()
    assert audit.closed
    assert "abd-app: Cancelled." in printed.err
    assert printed.out == ""


FACTS = TeacherFacts("wrn-16-2", 10, (32, 48), (0.5, 0.4, 0.3), (0.2, 0.2, 0.1), "probabilities")
TRIGGERS = (TriggerSpec("sig"), TriggerSpec("a b.png", "center", 0.5, 0.3, "m.png"))


@pytest.mark.parametrize(
    "plan",
    [
        AuditPlan("t.pt", "r"),
        AuditPlan(
            "-odd name.pt", "-r", FACTS, method="ood", defense="sv", student="wrn-16-1", steps=5, triggers=TRIGGERS
        ),
        AuditPlan(
            "t.pt", "r", effort="paper", minutes=2.5, device="cpu", seed=7, data="d", target_class="all", compare=True
        ),
        AuditPlan("t.pt", "r", target_class=3, picture="street.jpg", resume=True),
    ],
)
def test_the_copied_command_repeats_the_plan(plan: AuditPlan, use_audit: UseAudit) -> None:
    audit = use_audit(Audit(AuditFinished("r", REPORT)))
    program, *arguments = shlex.split(plan_to_command(plan))
    assert program == "abd-app"
    assert run(*arguments) == 0
    repeated = audit.plan
    assert repeated is not None
    assert repeated == replace(with_absolute_paths(plan), out=repeated.out), "from any folder"
    assert Path(repeated.out) == Path(plan.out)


def test_inspect_tells_what_is_known_found_and_asked(use_audit: UseAudit, capsys: pytest.CaptureFixture[str]) -> None:
    audit = use_audit(Audit(TeacherInspected(CARD), RuntimeError("the cost is not asked for")))
    assert run("inspect", "teacher.pt", "--classes", "10") == 0
    out = capsys.readouterr().out
    assert "wrn-16-2" in out
    assert "not stated" in out
    assert out.index("danger: Odd. Very odd.") < out.index("info: Small")
    assert "needed: How large? Guess: 32x32 (usual for it)." in out
    assert "--size HxW" in out
    assert "\x1b" not in out
    assert audit.facts == TeacherFacts(num_classes=10)
    assert audit.closed


def test_inspect_json_is_the_card(use_audit: UseAudit, capsys: pytest.CaptureFixture[str]) -> None:
    use_audit(Audit(TeacherInspected(CARD)))
    assert run("inspect", "teacher.pt", "--json") == 0
    read = json.loads(capsys.readouterr().out)
    assert read["architecture"] == "wrn-16-2"

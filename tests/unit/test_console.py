from __future__ import annotations

import pytest

from abd_app import console
from abd_app.errors import UsageError
from abd_app.events import PhaseAdvanced, PhaseStarted, RunBegan, StepDone, TeacherInspected, VaccineChecked
from abd_app.teacher import Finding, Question, TeacherCard


@pytest.mark.parametrize(("accepted", "verdict"), [(True, "accepted, shuffles a, b"), (False, "none accepted")])
def test_the_vaccine_check_says_the_share_of_images_told_apart(
    capsys: pytest.CaptureFixture[str], accepted: bool, verdict: str
) -> None:
    with console.ProgressPrinter() as progress:
        progress.show(VaccineChecked(accepted, 0.0527, 2, ("a", "b")))
    assert f"vaccine check: {verdict} (told apart 5.3 %, 2 tried)" in capsys.readouterr().err


def test_a_long_phase_without_steps_says_now_and_then_how_far_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    with console.ProgressPrinter(clock=lambda: now[0]) as progress:
        progress.show(PhaseStarted("vaccine check", "student", 0))
        for part in range(100):
            now[0] += 1.0
            progress.show(PhaseAdvanced("student", part / 100))
    lines = [line for line in capsys.readouterr().err.splitlines() if "vaccine" in line]
    assert lines == ["student: vaccine check", *(f"student: vaccine check, {share} %" for share in (30, 61, 92))]


@pytest.mark.parametrize(
    ("began", "said"),
    [
        (RunBegan("r", "new"), ""),
        (RunBegan("r", "resumed", "twin", 7), "resumed: the twin goes on after step 7\n"),
        (RunBegan("r", "resumed"), "resumed: there is no checkpoint yet, so the run starts from the beginning\n"),
        (RunBegan("r", "finished"), "this run is finished: its result again\n"),
    ],
)
def test_a_run_that_goes_on_says_from_where(capsys: pytest.CaptureFixture[str], began: RunBegan, said: str) -> None:
    with console.ProgressPrinter() as progress:
        progress.show(began)
    assert capsys.readouterr().err == said


FORGED = "a\n[2 of 2 ended] done: b\x1b[2J.pth"
SHOWN = "a\\n[2 of 2 ended] done: b\\x1b[2J.pth"


def test_a_name_begins_no_line_of_its_own_and_steers_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    card = TeacherCard(
        FORGED, "ab", 1, "onnx", None, 2, 3, (8, 8), None, None, None, 1, 0, class_names=(FORGED, "b"),
        findings=(Finding("info", FORGED, FORGED),),
        questions=(Question("input_size", FORGED, FORGED, FORGED, FORGED),),
    )  # fmt: skip
    with console.ProgressPrinter() as progress:
        progress.show(TeacherInspected(card))
    console.say(FORGED)
    console.print_error(UsageError(FORGED, where=FORGED, why=FORGED, remedy=FORGED))
    console.print_card(card)
    console.print_table([(FORGED, FORGED)])
    said = capsys.readouterr()
    lines = said.out.splitlines() + said.err.splitlines()
    assert said.err.splitlines()[-5:] == [
        SHOWN, f"abd-app: {SHOWN}", f"  where: {SHOWN}", f"  why: {SHOWN}", f"  what to do: {SHOWN}"
    ]  # fmt: skip
    assert sum(SHOWN in line for line in lines) == 12
    assert not [line for line in lines if line.startswith("[2 of 2") or "\x1b" in line]


@pytest.mark.parametrize(
    ("guess", "said"), [("wrn-16-2", "Which? Guess: wrn-16-2 (By its keys)."), ("", "Which? By its keys.")]
)
def test_a_question_without_a_guess_says_what_is_known(
    capsys: pytest.CaptureFixture[str], guess: str, said: str
) -> None:
    question = Question("architecture", "Which?", guess, "By its keys.", "--arch NAME")
    facts = (None, None, None, None, None, None, None)
    console.print_card(TeacherCard("a.pth", "ab", 1, "PyTorch", *facts, 1, 0, questions=(question,)))
    assert capsys.readouterr().out.endswith(f"\n\nneeded: {said}\n  answer with --arch NAME\n")


@pytest.mark.parametrize(("pace_s", "left"), [(1, "6 s left"), (60, "6 min left")])
def test_a_sparse_line_says_how_long_it_will_take(capsys: pytest.CaptureFixture[str], pace_s: float, left: str) -> None:
    now = [0.0]
    with console.ProgressPrinter(clock=lambda: now[0]) as progress:
        progress.show(PhaseStarted("distilling", "student", 0))
        progress.show(StepDone("student", 0, 8, 0.0))
        now[0] = 1000.0  # what comes before the first step is no measure of steps
        for step in range(1, 9):
            progress.show(StepDone("student", step, 8, step / 8))
            now[0] += pace_s
    lines = [line for line in capsys.readouterr().err.splitlines() if "step" in line]
    assert lines[0] == f"student: step 2 of 8, 25 %, {left}"
    assert lines[-1] == "student: step 8 of 8, 100 %"

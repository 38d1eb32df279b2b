from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from abd_app import history
from abd_app.events import (
    AuditCancelled,
    AuditFailed,
    AuditFinished,
    CostEstimated,
    Event,
    RunBegan,
    StepDone,
    TeacherInspected,
)
from abd_app.gui import folders
from abd_app.gui.session import Session
from abd_app.gui.states import State
from abd_app.plan import TeacherFacts
from abd_app.worker.messages import AuditJob, InspectionFinished, InspectJob, PauseChanged
from tests.gui.conftest import StandInEngine
from tests.gui.fake_runner import card
from tests.gui.sessions import FAILED, PLAN, inspected, running

REFUSED = dataclasses.replace(FAILED, exit_code=3)


def test_a_file_goes_from_inspecting_to_ready(session: Session, stand_in: StandInEngine) -> None:
    session.open_file("t.pth")
    assert session.state is State.INSPECTING
    assert not session.can_start
    stand_in.say(*inspected())
    assert session.state is State.READY
    assert session.can_start


def test_a_teacher_that_turns_out_unusable_later_is_refused(session: Session, stand_in: StandInEngine) -> None:
    session.open_file("t.pth")
    stand_in.say(TeacherInspected(card("t.pth", TeacherFacts())))
    stand_in.say(REFUSED)
    assert (session.state, session.card) == (State.REFUSED, None)


def test_required_questions_are_asked_before_anything_may_run(session: Session, stand_in: StandInEngine) -> None:
    session.open_file("t.pth")
    stand_in.say(*inspected(asks=True))
    assert session.state is State.ASKING
    assert not session.can_start
    session.start(PLAN)
    assert len(stand_in.jobs) == 1
    facts = TeacherFacts(input_size=(32, 32))
    session.answer(facts)
    assert stand_in.jobs[-1] == InspectJob("t.pth", facts)
    stand_in.say(*inspected(asks=True, facts=facts))
    assert session.state is State.READY


def test_a_second_file_replaces_the_first_and_its_late_events(session: Session, stand_in: StandInEngine) -> None:
    session.open_file("a.pth")
    shown: list[str] = []
    session.stateChanged.connect(lambda _: shown.append(session.file))
    session.open_file("b.pth")
    assert stand_in.commands == ["cancel"] and shown == ["b.pth"], "the views name the new one"
    stand_in.say(TeacherInspected(card("a.pth", TeacherFacts())), AuditCancelled(), job=1)
    assert session.card is None
    assert session.state is State.INSPECTING
    stand_in.say(TeacherInspected(card("b.pth", TeacherFacts())), InspectionFinished(), job=2)
    assert session.card is not None
    assert session.card.file == "b.pth"


def test_a_refused_file_leaves_no_card(session: Session, stand_in: StandInEngine) -> None:
    session.open_file("t.pth")
    stand_in.say(TeacherInspected(card("t.pth", TeacherFacts())), REFUSED)
    assert (session.state, session.card, session.failure) == (State.REFUSED, None, REFUSED)


def test_pause_follows_the_engine_and_not_the_click(session: Session, stand_in: StandInEngine) -> None:
    running(session, stand_in)
    session.pause_or_resume()
    assert session.state is State.RUNNING
    stand_in.say(PauseChanged(True))
    assert session.state is State.PAUSED
    session.pause_or_resume()
    stand_in.say(PauseChanged(False))
    assert session.state is State.RUNNING
    assert stand_in.commands == ["pause", "resume"]


def test_stop_and_keep_ends_as_finished(session: Session, stand_in: StandInEngine) -> None:
    running(session, stand_in)
    session.stop_and_keep()
    assert session.state is State.STOPPING
    stand_in.say(PauseChanged(False))
    assert session.state is State.STOPPING
    stand_in.say(AuditFinished("out", {}))
    assert session.state is State.FINISHED
    assert session.can_start


def test_cancel_goes_back_to_ready(session: Session, stand_in: StandInEngine) -> None:
    running(session, stand_in)
    session.cancel()
    assert session.state is State.CANCELLING
    stand_in.say(StepDone("student", 1, 2, 0.5), AuditCancelled())
    assert session.state is State.READY
    assert session.can_start


@pytest.mark.parametrize(
    ("order", "resume", "stays"),
    [("cancel", False, False), ("cancel", True, True), ("suspend", False, True)],
)
@pytest.mark.parametrize("checkpoint", [True, False])
def test_what_is_discarded_is_gone_and_what_was_there_before_stays(
    session: Session,
    stand_in: StandInEngine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    order: str,
    resume: bool,
    stays: bool,
    checkpoint: bool,
) -> None:
    trash = tmp_path / "trash"
    monkeypatch.setattr(history, "data_folder", lambda: tmp_path / "data")
    monkeypatch.setattr(folders, "to_trash", lambda folder: bool(Path(folder).rename(trash)))
    run = tmp_path / "run"
    running(session, stand_in, dataclasses.replace(PLAN, out=str(run), resume=resume))
    (run / "checkpoint").mkdir(parents=True)
    (run / "plan.json").write_text("{}")
    if checkpoint:
        (run / "checkpoint" / "state.pt").write_bytes(b"learned")
    stand_in.say(RunBegan(str(run), "resumed" if resume else "new"))
    getattr(session, order)()
    stand_in.say(AuditCancelled())
    assert run.exists() == stays
    assert trash.exists() == (checkpoint and not stays), "what was learned can be taken back"


def test_what_the_trash_does_not_take_stays_and_is_told(
    session: Session, stand_in: StandInEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "data_folder", lambda: tmp_path / "data")
    monkeypatch.setattr(folders, "to_trash", lambda folder: False)
    failures: list[AuditFailed] = []
    session.jobFailed.connect(failures.append)
    run = tmp_path / "run"
    running(session, stand_in, dataclasses.replace(PLAN, out=str(run)))
    (run / "checkpoint").mkdir(parents=True)
    (run / "checkpoint" / "state.pt").write_bytes(b"learned")
    stand_in.say(RunBegan(str(run), "new"))
    session.cancel()
    stand_in.say(AuditCancelled())
    assert (run / "checkpoint" / "state.pt").read_bytes() == b"learned" and session.state is State.READY
    assert [(one.what, one.where) for one in failures] == [("The run could not be moved to the trash.", str(run))]


def test_what_somebody_has_put_beside_a_discarded_run_stays(
    session: Session, stand_in: StandInEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "data_folder", lambda: tmp_path / "data")
    run = tmp_path / "run"
    running(session, stand_in, dataclasses.replace(PLAN, out=str(run)))
    (run / "checkpoint").mkdir(parents=True)
    for name in ("plan.json", "notes.txt"):
        (run / name).write_text("{}")
    stand_in.say(RunBegan(str(run), "new"))
    session.cancel()
    stand_in.say(AuditCancelled())
    assert [path.name for path in run.iterdir()] == ["notes.txt"]


def test_nothing_is_discarded_of_a_run_that_had_not_begun(
    session: Session, stand_in: StandInEngine, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    running(session, stand_in, dataclasses.replace(PLAN, out=str(tmp_path / "empty")))
    session.cancel()
    stand_in.say(AuditCancelled())
    assert (tmp_path / "empty").exists()


def test_a_failed_run_can_be_started_again(session: Session, stand_in: StandInEngine) -> None:
    running(session, stand_in)
    failures: list[AuditFailed] = []
    session.jobFailed.connect(failures.append)
    stand_in.say(FAILED)
    assert (session.state, failures) == (State.FAILED, [FAILED])
    session.start(PLAN)
    assert stand_in.jobs[-1] == AuditJob(PLAN)
    assert session.state is State.RUNNING


def test_an_idle_engine_that_dies_is_told_but_changes_nothing(session: Session, stand_in: StandInEngine) -> None:
    session.open_file("t.pth")
    stand_in.say(*inspected())
    failures: list[AuditFailed] = []
    session.jobFailed.connect(failures.append)
    stand_in.say(FAILED)
    assert (session.state, failures) == (State.READY, [FAILED])


def test_while_a_run_is_on_no_other_file_is_opened(session: Session, stand_in: StandInEngine, tmp_path: Path) -> None:
    running(session, stand_in)
    session.open_file(str(tmp_path))
    session.answer(TeacherFacts())
    assert (session.file, len(stand_in.jobs)) == ("t.pth", 2)


def test_events_of_a_run_reach_the_views_once(session: Session, stand_in: StandInEngine) -> None:
    seen: list[Event] = []
    session.eventHappened.connect(seen.append)
    running(session, stand_in)
    step, end = StepDone("student", 1, 2, 0.5), AuditFinished("out", {})
    stand_in.say(step, CostEstimated("ood", "why", {}), end)
    assert [event for event in seen if event in (step, end)] == [step, end]

"""A run that is to go on from the history: it does, or it is said that it does not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from abd_app import history
from abd_app.events import AuditCancelled, AuditFailed, AuditFinished, RunBegan
from abd_app.gui.main_window import MainWindow
from abd_app.gui.states import State
from abd_app.plan import AuditPlan
from abd_app.worker.messages import AuditJob
from tests.gui.conftest import StandInEngine
from tests.gui.sessions import inspected
from tests.gui.test_history import FACTS, _enabled, _left, _opened
from tests.gui.test_window import make_ready, say_ready


@pytest.fixture(autouse=True)
def _own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "data_folder", lambda: tmp_path / "data")


def test_an_interrupted_run_goes_on_by_itself_in_its_folder(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path, qtbot: QtBot
) -> None:
    plan = _left(tmp_path / "cut off", finished=False)
    dialog = _opened(window)
    assert _enabled(dialog) == [False, True, True, True, True]
    dialog.resume.click()
    say_ready(stand_in, plan.teacher_file, FACTS)
    qtbot.waitUntil(lambda: window.session.state is State.RUNNING)
    assert stand_in.jobs[-1] == AuditJob(replace(plan, resume=True))
    stand_in.say(RunBegan(plan.out, "resumed", step=3), AuditFinished(plan.out, {}))
    assert window.setup.distill.text() == "Distill safely"
    window.distill()
    job = stand_in.jobs[-1]
    assert isinstance(job, AuditJob) and job.plan == replace(plan, out=job.plan.out), "the next run is another one"
    assert Path(job.plan.out).parent == tmp_path / "runs"
    window.session.cancel()


def _continued(window: MainWindow, stand_in: StandInEngine, plan: AuditPlan, qtbot: QtBot) -> None:
    _opened(window).resume.click()
    say_ready(stand_in, plan.teacher_file, FACTS)
    qtbot.waitUntil(lambda: window.session.state is State.RUNNING)


def test_a_run_that_failed_before_it_went_on_can_be_tried_again(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path, qtbot: QtBot
) -> None:
    """As where its images have been put back."""
    plan = _left(tmp_path / "cut off", finished=False)
    _continued(window, stand_in, plan, qtbot)
    stand_in.say(AuditFailed("The images are gone.", "", "", "Put them back.", 2))
    assert "images are gone" in window.banner.text and window.setup.distill.text() == "Continue the run"
    assert window.setup.expected_seconds() is None
    for _ in range(2):
        window.setup.distill.click()
        assert stand_in.jobs[-1] == AuditJob(replace(plan, resume=True))
        stand_in.say(AuditFailed("Still.", "", "", "", 2))
    window.draft.choose(out="")
    window.setup.distill.click()
    job = stand_in.jobs[-1]
    assert isinstance(job, AuditJob) and not job.plan.resume, "another folder has nothing that could go on"
    window.session.cancel()


@pytest.mark.parametrize("begun", [True, False])
def test_a_run_that_is_dropped_when_it_was_to_go_on_is_not_the_next_one(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path, qtbot: QtBot, begun: bool
) -> None:
    plan = _left(tmp_path / "cut off", finished=False)
    _continued(window, stand_in, plan, qtbot)
    if begun:
        stand_in.say(RunBegan(plan.out, "resumed", step=3))
    window.session.cancel()
    stand_in.say(AuditCancelled())
    assert (window.draft["out"], window.draft["resume"]) == ("", False)


def test_a_run_whose_teacher_asks_by_now_says_that_it_does_not_go_on(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path
) -> None:
    plan = _left(tmp_path / "cut off", finished=False)
    _opened(window).resume.click()
    stand_in.say(*inspected(asks=True))
    assert window.session.state is State.ASKING and window.banner.isVisible()
    assert "could not go on" in window.banner.text and "in the history again" in window.banner.text
    assert plan.teacher_file in window.banner.text
    assert (window.draft["out"], window.draft["resume"]) == ("", False)


def test_a_run_whose_teacher_is_refused_does_not_go_on_later_by_itself(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path, qtbot: QtBot
) -> None:
    _left(tmp_path / "cut off", finished=False)
    _opened(window).resume.click()
    stand_in.say(AuditFailed("It is gone.", "", "", "", 2))
    assert window.session.state is State.REFUSED
    assert (window.draft["out"], window.draft["resume"]) == ("", False)
    make_ready(window, stand_in, str(tmp_path / "another.pth"))
    qtbot.wait(50)
    assert window.session.state is State.READY


def test_another_file_that_is_opened_meanwhile_is_not_started(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path, qtbot: QtBot
) -> None:
    _left(tmp_path / "cut off", finished=False)
    _opened(window).resume.click()
    make_ready(window, stand_in, str(tmp_path / "another.pth"))
    qtbot.wait(50)
    assert window.session.state is State.READY
    assert (window.draft["out"], window.draft["resume"]) == ("", False)

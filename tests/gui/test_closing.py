"""A window that is closed while a run is on: nothing is lost without being asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from abd_app import history
from abd_app.events import AuditCancelled, AuditFinished, RunBegan, StepDone
from abd_app.gui import folders
from abd_app.gui.main_window import MainWindow
from abd_app.gui.states import State
from tests.gui.conftest import StandInEngine
from tests.gui.sessions import FAILED
from tests.gui.test_window import make_ready

LATER, STOP, DISCARD = "Keep for later and close", "Stop, keep and close", "Discard and close"


@pytest.fixture(autouse=True)
def own_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "data_folder", lambda: tmp_path / "data")


def begin(window: MainWindow, stand_in: StandInEngine, folder: str = "out") -> None:
    """A run that is on, and has its folder."""
    make_ready(window, stand_in)
    window.distill()
    stand_in.say(RunBegan(folder, "new"))


def test_closing_while_a_run_is_on_asks(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    window.distill()
    window.close()
    assert window.isVisible()
    window.banner.buttons()["Stay"].click()
    assert not window.banner.isVisible()
    window.close()
    window.banner.buttons()["Stop, keep and close"].click()
    assert stand_in.commands == ["stop"]
    assert window.isVisible()
    stand_in.say(AuditFinished("out", {}))
    assert not window.isVisible()


def test_the_question_how_to_close_ends_with_the_run(window: MainWindow, stand_in: StandInEngine) -> None:
    make_ready(window, stand_in)
    window.distill()
    window.close()
    assert window.banner.isVisible()
    stand_in.say(AuditFinished("out", {}))
    assert not window.banner.isVisible() and window.isVisible()


@pytest.mark.parametrize(
    ("button", "command"), [("Keep for later and close", "suspend"), ("Discard and close", "cancel")]
)
def test_a_run_is_dropped_at_the_end_with_a_checkpoint_or_without(
    window: MainWindow, stand_in: StandInEngine, button: str, command: str
) -> None:
    begin(window, stand_in)
    window.close()
    window.banner.buttons()[button].click()
    assert stand_in.commands == [command] and window.isVisible()
    stand_in.say(AuditCancelled())
    assert not window.isVisible()


def test_a_failure_while_closing_keeps_the_window(window: MainWindow, stand_in: StandInEngine) -> None:
    """What was to be kept could not be written: who has read that may close."""
    begin(window, stand_in)
    window.close()
    window.banner.buttons()[STOP].click()
    stand_in.say(FAILED)
    assert window.isVisible() and FAILED.what in window.banner.text and window.banner.isVisible()
    window.close()
    assert not window.isVisible()


def test_a_failure_while_it_is_asked_how_to_close_is_told(window: MainWindow, stand_in: StandInEngine) -> None:
    begin(window, stand_in)
    window.close()
    stand_in.say(FAILED)
    assert window.banner.isVisible() and FAILED.what in window.banner.text


def test_what_the_trash_does_not_take_keeps_the_window(
    window: MainWindow, stand_in: StandInEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "to_trash", lambda folder: False)
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    (tmp_path / "run" / "checkpoint" / "state.pt").write_bytes(b"learned")
    begin(window, stand_in, str(tmp_path / "run"))
    window.close()
    window.banner.buttons()[DISCARD].click()
    stand_in.say(AuditCancelled())
    assert window.isVisible() and "trash" in window.banner.text


def test_only_what_can_go_on_is_kept_for_later(window: MainWindow, stand_in: StandInEngine) -> None:
    """Before a run has its folder nothing of it could be found again, and a teacher is purified in one go."""
    make_ready(window, stand_in)
    window.distill()
    window.close()
    assert LATER not in window.banner.buttons() and "nothing yet" in window.banner.text
    stand_in.say(RunBegan("out", "new"))
    window.close()
    assert LATER in window.banner.buttons() and "from the history" in window.banner.text
    window.session.stop_and_keep()
    window.close()
    assert list(window.banner.buttons()) == [STOP, DISCARD, "Stay"]
    stand_in.say(AuditFinished("out", {}))
    window.draft.choose(student="purified")
    window.distill()
    stand_in.say(RunBegan("out", "new"))
    window.close()
    assert list(window.banner.buttons()) == [DISCARD, "Stay"]
    stand_in.say(AuditFinished("out", {}))


def test_what_is_being_kept_for_later_can_still_be_dropped(window: MainWindow, stand_in: StandInEngine) -> None:
    begin(window, stand_in)
    window.close()
    window.banner.buttons()[LATER].click()
    assert window.run_bar.phase.text() == "Keeping it for later" and window.run_bar.cancel.isEnabled()
    window.session.cancel()
    assert stand_in.commands == ["suspend", "cancel"] and window.run_bar.phase.text() == "Cancelling"
    assert not window.run_bar.cancel.isEnabled()
    stand_in.say(AuditCancelled())
    assert not window.isVisible()


@pytest.mark.parametrize(("begun", "command"), [(True, "suspend"), (False, "cancel")])
def test_a_window_that_must_close_keeps_what_can_go_on(
    window: MainWindow, stand_in: StandInEngine, begun: bool, command: str
) -> None:
    """As a system that shuts down asks for."""
    make_ready(window, stand_in)
    window.distill()
    if begun:
        stand_in.say(RunBegan("out", "new"), StepDone("student", 1, 9, 0.1))
    window.closing.close_soon()
    assert stand_in.commands == [command] and window.isVisible()
    stand_in.say(AuditCancelled())
    assert not window.isVisible()


def test_a_window_that_must_close_waits_for_what_is_already_ending(window: MainWindow, stand_in: StandInEngine) -> None:
    begin(window, stand_in)
    window.session.stop_and_keep()
    window.closing.close_soon()
    assert stand_in.commands == ["stop"]
    stand_in.say(AuditFinished("out", {}))
    assert not window.isVisible() and window.session.state is State.FINISHED

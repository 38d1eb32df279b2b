"""What appears by itself is told to who listens to the screen."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QAccessible, QAccessibleAnnouncementEvent

from abd_app.events import AuditFinished
from abd_app.gui.main_window import MainWindow
from tests.gui.conftest import StandInEngine
from tests.gui.sessions import FAILED
from tests.gui.test_window import make_ready

URGENT, POLITE = QAccessible.AnnouncementPoliteness.Assertive, QAccessible.AnnouncementPoliteness.Polite


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, QAccessible.AnnouncementPoliteness]]:
    """What a screen reader is asked to say."""
    said: list[tuple[str, QAccessible.AnnouncementPoliteness]] = []

    def update(event: object) -> None:
        assert isinstance(event, QAccessibleAnnouncementEvent) and event.object().isVisible()
        said.append((event.message(), event.politeness()))

    monkeypatch.setattr(QAccessible, "updateAccessibility", update)
    return said


Told = list[tuple[str, QAccessible.AnnouncementPoliteness]]


def test_an_error_is_told_at_once(window: MainWindow, stand_in: StandInEngine, told: Told) -> None:
    window.open_file("t.pth")
    stand_in.say(FAILED)
    ((text, urgency),) = told
    assert text.startswith("It failed. Where: there\nWhy: because\nWhat to do: do this") and urgency is URGENT


def test_the_question_how_to_close_is_told(window: MainWindow, stand_in: StandInEngine, told: Told) -> None:
    make_ready(window, stand_in)
    window.distill()
    window.close()
    ((text, urgency),) = told
    assert text.startswith("A run is still in progress.") and urgency is URGENT
    window.session.cancel()


@pytest.mark.parametrize(
    ("caution", "said"), [("info", "Result: It is so."), ("danger", "Do not use it yet: It is so.")]
)
def test_the_end_of_a_run_is_told(
    window: MainWindow, stand_in: StandInEngine, told: Told, caution: str, said: str
) -> None:
    make_ready(window, stand_in)
    window.distill()
    stand_in.say(AuditFinished("out", {"summary": "It is so.", "caution": caution}))
    assert told == [(said, POLITE)]


def test_what_is_told_reaches_qt(window: MainWindow) -> None:
    window.banner.show_message("info", "It is here.")
    assert window.banner.isVisible()

"""The window without a display and without torch; no test may leave a thread, a timer or a process behind."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
os.environ["QT_QPA_PLATFORM"] = "offscreen"
sys.path.insert(0, str(ROOT))  # the engine child inherits it and finds tests.gui.fake_runner

import pytest  # noqa: E402
import shiboken6  # noqa: E402
from PySide6.QtCore import QCoreApplication, QEvent, QObject, QThread, QTimer, Signal  # noqa: E402
from PySide6.QtWidgets import QApplication  # noqa: E402

from abd_app.events import Event  # noqa: E402
from abd_app.gui.engine_thread import EngineThread  # noqa: E402
from abd_app.gui.file_chooser import FileChooser  # noqa: E402
from abd_app.gui.look.theme import Theme  # noqa: E402
from abd_app.gui.main_window import MainWindow  # noqa: E402
from abd_app.gui.session import Session  # noqa: E402
from abd_app.gui.settings import Settings  # noqa: E402
from abd_app.plan import AuditPlan, TeacherFacts, TriggerSpec  # noqa: E402
from abd_app.worker.messages import CommandName, Job  # noqa: E402

RUNNER = "tests.gui.fake_runner"


class StandInEngine(QObject):
    """Records orders; the test says what happens."""

    eventsArrived = Signal(int, list)  # noqa: N815 - Qt

    def __init__(self) -> None:
        super().__init__()
        self.jobs: list[Job] = []
        self.commands: list[CommandName] = []

    def submit(self, job: Job) -> int:
        self.jobs.append(job)
        return len(self.jobs)

    def command(self, name: CommandName) -> None:
        self.commands.append(name)

    def say(self, *events: Event, job: int | None = None) -> None:
        self.eventsArrived.emit(len(self.jobs) if job is None else job, list(events))


class AnsweredChooser(FileChooser):
    """File dialogs that are answered at once."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = ""
        self.suggestion = ""

    def teacher(self) -> str:
        return self.answer

    picture = image_archive = teacher

    def folder(self, title: str) -> str:
        return self.answer

    def save(self, title: str, suggestion: str, kinds: str) -> str:
        self.suggestion = suggestion
        return self.answer


@pytest.fixture(autouse=True)
def nothing_left_behind(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    started: list[QThread | QTimer] = []

    def record(kind: Any) -> None:
        start = kind.start

        def recording_start(self: Any, *arguments: Any) -> Any:
            started.append(self)
            return start(self, *arguments)

        monkeypatch.setattr(kind, "start", recording_start)

    record(QThread)
    record(QTimer)
    yield
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    alive = [one for one in started if shiboken6.isValid(one)]
    assert [one for one in alive if isinstance(one, QThread) and one.isRunning()] == []
    assert [one for one in alive if isinstance(one, QTimer) and one.isActive()] == []
    assert multiprocessing.active_children() == []


@pytest.fixture(scope="session")
def theme(qapp: QApplication) -> Theme:
    return Theme(qapp, "light")


@pytest.fixture
def chooser() -> AnsweredChooser:
    return AnsweredChooser()


@pytest.fixture
def stand_in() -> StandInEngine:
    return StandInEngine()


@pytest.fixture
def session(stand_in: StandInEngine) -> Session:
    return Session(stand_in)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(tmp_path / "settings" / "window.ini")
    settings.runs_folder = tmp_path / "runs"
    return settings


MakeWindow = Callable[..., MainWindow]


@pytest.fixture
def make_window(theme: Theme, settings: Settings, chooser: AnsweredChooser, tmp_path: Path) -> Iterator[MakeWindow]:
    windows = []

    def demo(out: str) -> AuditPlan:
        facts = TeacherFacts(num_classes=10)
        return AuditPlan(
            str(teacher_file(tmp_path)),
            out,
            facts=facts,
            triggers=(TriggerSpec("sticker"),),
            target_class=3,
            minutes=2.0,
        )

    def make(engine: Any) -> MainWindow:
        window = MainWindow(Session(engine), settings, theme, log=tmp_path / "abd-app.log", demo=demo, chooser=chooser)
        window.resize(1024, 700)
        window.show()
        windows.append(window)
        return window

    yield make
    for window in windows:
        window.hide()
        window.deleteLater()


@pytest.fixture
def window(make_window: MakeWindow, stand_in: StandInEngine) -> MainWindow:
    """A window whose engine is a stand-in."""
    return make_window(stand_in)


@pytest.fixture
def live_window(make_window: MakeWindow) -> Iterator[MainWindow]:
    """A window with a real thread and a real child that runs the fake runner."""
    engine = EngineThread(RUNNER)
    window = make_window(engine)
    engine.start()
    yield window
    engine.close()


def teacher_file(folder: Path, name: str = "ready.pth") -> Path:
    """A file that the fake runner takes for a teacher."""
    path = folder / name
    path.write_bytes(b"weights")
    return path

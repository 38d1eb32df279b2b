"""The thread between the window and the engine: every job that was submitted ends, whatever is ordered when."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from abd_app.events import AuditCancelled, AuditFailed, AuditFinished, Event
from abd_app.gui.engine_thread import EngineThread
from abd_app.plan import AuditPlan, TeacherFacts
from abd_app.worker.messages import AuditJob, InspectJob, PauseChanged
from tests.gui.conftest import RUNNER, teacher_file

Seen = list[tuple[int, Event]]


@pytest.fixture
def seen() -> Seen:
    return []


@pytest.fixture
def engine(seen: Seen) -> Iterator[EngineThread]:
    engine = EngineThread(RUNNER)
    engine.eventsArrived.connect(lambda number, events: seen.extend((number, event) for event in events))
    yield engine
    engine.close()


def _audit(folder: Path, steps: int) -> AuditJob:
    return AuditJob(AuditPlan(str(teacher_file(folder)), str(folder / "out"), steps=steps))


def _finished(seen: Seen, number: int) -> bool:
    return any(one == number and isinstance(event, AuditFinished) for one, event in seen)


def _busy_with_another(engine: EngineThread, folder: Path) -> None:
    """The engine looks at a file and does not answer for a while."""
    engine.start()
    engine.submit(InspectJob(str(teacher_file(folder, "slow-look.pth")), TeacherFacts()))
    engine.msleep(300)
    engine.command("cancel")  # as the window does before it submits a run


@pytest.mark.parametrize("name", ["cancel", "suspend"])
def test_a_run_that_waits_for_the_end_of_another_job_can_be_cancelled(
    engine: EngineThread, seen: Seen, tmp_path: Path, qtbot: QtBot, name: str
) -> None:
    _busy_with_another(engine, tmp_path)
    number = engine.submit(_audit(tmp_path, 100_000))
    engine.command(name)  # type: ignore[arg-type]
    qtbot.waitUntil(lambda: (number, AuditCancelled()) in seen, timeout=5000)
    last = engine.submit(_audit(tmp_path, 5))
    qtbot.waitUntil(
        lambda: any(one == last and isinstance(event, AuditFinished) for one, event in seen), timeout=20_000
    )
    assert [event for one, event in seen if one == number] == [AuditCancelled()], "it never began"


def test_a_run_that_waits_can_be_paused(engine: EngineThread, seen: Seen, tmp_path: Path, qtbot: QtBot) -> None:
    _busy_with_another(engine, tmp_path)
    number = engine.submit(_audit(tmp_path, 100_000))
    engine.command("pause")
    qtbot.waitUntil(lambda: (number, PauseChanged(True)) in seen, timeout=20_000)


def test_a_process_that_cannot_be_started_is_a_failure_of_the_job(
    engine: EngineThread, seen: Seen, tmp_path: Path, qtbot: QtBot, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(process: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as full:
        full.setattr(SpawnProcess, "start", no_room)
        engine.start()
        number = engine.submit(_audit(tmp_path, 5))
        qtbot.waitUntil(lambda: any(one == number for one, _ in seen), timeout=5000)
    assert [one for one, event in seen if isinstance(event, AuditFailed)] == [0, number]
    last = engine.submit(_audit(tmp_path, 5))
    qtbot.waitUntil(
        lambda: any(one == last and isinstance(event, AuditFinished) for one, event in seen), timeout=20_000
    )


def test_of_two_that_wait_the_newer_is_taken_and_nothing_of_the_older_is_left(
    engine: EngineThread, seen: Seen, tmp_path: Path, qtbot: QtBot
) -> None:
    _busy_with_another(engine, tmp_path)
    older = engine.submit(_audit(tmp_path, 100_000))
    engine.command("pause")
    newer = engine.submit(_audit(tmp_path, 5))
    qtbot.waitUntil(lambda: _finished(seen, newer), timeout=20_000)
    assert [event for number, event in seen if number == older] == [AuditCancelled()]
    assert (newer, PauseChanged(True)) not in seen, "the pause was for the other"

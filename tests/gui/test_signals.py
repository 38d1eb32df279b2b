from __future__ import annotations

import sys

from PySide6.QtCore import QObject, Qt, Signal
from pytestqt.qtbot import QtBot

from abd_app.events import StepDone


class Speaker(QObject):
    spoken = Signal(int, list)


def test_five_thousand_signals_lose_no_reference(qtbot: QtBot) -> None:
    """PySide6 6.12.0 on CPython 3.11 drops a reference on every emit and aborts after some hundred."""
    speaker = Speaker()
    heard: list[int] = []
    speaker.spoken.connect(lambda number, events: heard.append(events[0].step), Qt.ConnectionType.QueuedConnection)
    event = StepDone("student", 7, 10, 0.7)
    events = [event]
    before = sys.getrefcount(event), sys.getrefcount(events), sys.getrefcount(None)
    for _ in range(5000):
        speaker.spoken.emit(1, events)
    qtbot.waitUntil(lambda: len(heard) == 5000, timeout=10_000)
    assert heard[-1] == 7
    assert (sys.getrefcount(event), sys.getrefcount(events)) == before[:2]
    assert abs(sys.getrefcount(None) - before[2]) < 1000

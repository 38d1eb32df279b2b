"""The states of the window that README.md shows, played from the recording of the built-in demo."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from recorded_run import Recording, Said
from stage import Stage

from abd_app.events import Event


def play(stage: Stage, conversation: Iterable[Said]) -> None:
    """Says recorded events at the times at which they were said."""
    for said in conversation:
        stage.elapsed_s = said.elapsed_s
        if isinstance(said.message, Event):
            stage.engine.play(said.message)


def _ready(stage: Stage, recording: Recording) -> None:
    stage.engine.play(recording.devices)
    stage.window.open_demo()
    play(stage, recording.inspection)


def _run(stage: Stage, recording: Recording, until_now: Iterable[Said]) -> None:
    _ready(stage, recording)
    stage.window.distill()
    play(stage, until_now)


DEMO_STATES: dict[str, Callable[[Stage, Recording], None]] = {
    "ready": _ready,
    "running-twin": lambda stage, recording: _run(stage, recording, recording.until_last_is_halfway()),
    "finished": lambda stage, recording: _run(stage, recording, recording.run),
}
"""By the name of the picture."""

"""A stage for the real window: events are played to it where an engine would say them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from made_up_run import GIB, SECONDS, card, made_up_run
from PySide6.QtCore import QObject, Signal

from abd_app.events import CostEstimated, DevicesListed, Event, ImagesInspected, StepDone, TeacherInspected
from abd_app.gui.look.theme import Theme
from abd_app.gui.main_window import MainWindow
from abd_app.gui.session import Session
from abd_app.gui.settings import Settings
from abd_app.plan import AuditPlan, TriggerSpec
from abd_app.teacher import Finding, Question
from abd_app.worker.messages import CommandName, InspectionFinished, Job

FILE = "/home/ada/models/road-signs-wrn16.safetensors"
IMAGES = ImagesInspected("/home/ada/data/road-signs", 1_200, 10, 32, 32)
SECONDS_PER_EVENT = 40 / 70
"""Between two made-up steps that are told."""


class Played(QObject):
    """Stands where the engine stands; the script plays events through it."""

    eventsArrived = Signal(int, list)  # noqa: N815 - Qt

    def __init__(self) -> None:
        super().__init__()
        self._jobs = 0

    def submit(self, job: Job) -> int:
        """Numbers the job and leaves it at that."""
        self._jobs += 1
        return self._jobs

    def command(self, name: CommandName) -> None:
        """Nothing runs, so nothing is ordered."""

    def play(self, *events: Event) -> None:
        """Says these events on behalf of the newest job."""
        self.eventsArrived.emit(self._jobs, list(events))


class Stage:
    """A window with a teacher file, in a folder of its own.

    Attributes:
        elapsed_s: What the window's clock shows: events are played at their own speed, not at this machine's.
    """

    def __init__(
        self, theme: Theme, size: tuple[int, int], folder: Path, demo: Callable[[str], AuditPlan] | None = None
    ) -> None:
        self.engine = Played()
        self.elapsed_s = 0.0
        self.settings = Settings(folder / "window.ini")
        self.theme = theme
        self.window = MainWindow(
            Session(self.engine),
            self.settings,
            self.theme,
            log=Path("~/.local/state/abd-app/log/abd-app.log"),
            demo=demo or demo_plan,
            clock=lambda: self.elapsed_s,
        )
        self.window.resize(*size)
        self.window.show()
        self.engine.play(DevicesListed((("cuda", "NVIDIA RTX 4070", 11 * GIB), ("cpu", "CPU, 8 cores", 22 * GIB))))

    def open(self, file: str, *, questions: tuple[Question, ...] = (), findings: tuple[Finding, ...] = ()) -> None:
        """Opens a made-up teacher."""
        self.window.open_file(file)
        self.engine.play(
            TeacherInspected(card(file, questions, findings)),
            CostEstimated("fast", "The teacher has BatchNorm statistics to match, and there is a GPU.", SECONDS),
            InspectionFinished(),
        )

    def run(self, *, compare: bool = True, triggers: tuple[str, ...] = ("sticker",), until: float = 1.0) -> None:
        """Plays a made-up run up to ``until`` of the student's steps."""
        self.open(FILE)
        draft = self.window.draft
        draft.replace(
            AuditPlan(
                "",
                "",
                data=IMAGES.path if triggers else None,
                triggers=tuple(TriggerSpec(name) for name in triggers),
                target_class=2,
                compare=compare,
            )
        )
        self.engine.play(IMAGES)
        self.window.distill()
        for event in made_up_run(compare, triggers, until):
            self.elapsed_s += SECONDS_PER_EVENT * isinstance(event, StepDone)
            self.engine.play(event)
        self.window.live.curves.refresh()


def demo_plan(out: str) -> AuditPlan:
    """A plan for the button to exist."""
    return AuditPlan("demo/teacher.safetensors", out)

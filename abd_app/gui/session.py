"""What the window is doing: the state, the teacher, the run. Knows no widget."""

from __future__ import annotations

import dataclasses
import logging

from PySide6.QtCore import QObject, Signal

from abd_app import history
from abd_app.errors import TeacherRefusedError, UsageError
from abd_app.events import (
    AuditCancelled,
    AuditFailed,
    AuditFinished,
    CostEstimated,
    DevicesListed,
    Event,
    ImagesInspected,
    RunBegan,
    TeacherInspected,
)
from abd_app.gui.engine_thread import Engine
from abd_app.gui.folders import discard_run
from abd_app.gui.states import RUN_STATES, STARTABLE_STATES, State
from abd_app.plan import PURIFIED, AuditPlan, TeacherFacts
from abd_app.teacher import TeacherCard
from abd_app.worker.messages import AuditJob, ImagesJob, InspectionFinished, InspectJob, PauseChanged

_log = logging.getLogger(__name__)


class Session(QObject):
    """The state machine between the engine and the views.

    Attributes:
        state: Where the window is.
        file: The teacher file that was opened last, or "".
        facts: What the user has said about it.
        choices: Those of the next run, as far as its cost depends on them, and its labelled images.
        card: What is known about it; ``None`` until it is inspected.
        plan: The plan of the run that is on or was the last.
        expected_s: How long that was expected to take, all of it; ``None``: nobody knew.
        failure: Why the last job failed.
        result: How the last run ended, if it ended well.
    """

    stateChanged = Signal(State)
    cardChanged = Signal(object)
    costChanged = Signal(object)
    imagesInspected = Signal(object)
    devicesChanged = Signal(object)
    runStarted = Signal(object)
    eventHappened = Signal(object)
    jobFailed = Signal(object)
    answersRefused = Signal(object)
    """Why what the user says of a teacher cannot be: the questions are asked again."""
    inspectionBegan = Signal()
    runFinished = Signal(object)
    runCancelled = Signal()

    def __init__(self, engine: Engine, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.state = State.EMPTY
        self.file = ""
        self.facts = TeacherFacts()
        self.choices = AuditPlan(teacher_file="", out="")
        self._cost: CostEstimated | None = None
        self.card: TeacherCard | None = None
        self.plan: AuditPlan | None = None
        self.expected_s: float | None = None
        self.failure: AuditFailed | None = None
        self.result: AuditFinished | None = None
        self._engine = engine
        self._job = 0
        self._inspecting = self._images_known = False
        self._folder = ""  # of the run that is on, once it has one
        self._discards = self._suspends = False
        engine.eventsArrived.connect(self._on_events_arrived)

    @property
    def running(self) -> bool:
        """True from the start of a run to its end."""
        return self.state in RUN_STATES

    @property
    def inspecting(self) -> bool:
        """True while the engine looks at a file, or at what a run would cost."""
        return self._inspecting

    @property
    def can_start(self) -> bool:
        """True if a run could start now."""
        return self.state in STARTABLE_STATES and self.card is not None and not self._open_questions()

    @property
    def can_keep(self) -> bool:
        """True if the run makes a student, which can be kept as it is; a purified teacher is none before its end."""
        return self.plan is not None and self.plan.student != PURIFIED

    @property
    def can_suspend(self) -> bool:
        """True if the run could be dropped now and go on later: a student learns, and has a folder for checkpoints."""
        return self.state in (State.RUNNING, State.PAUSED) and bool(self._folder) and self.can_keep

    @property
    def suspending(self) -> bool:
        """True while the last checkpoint of a run that is kept for later is being written."""
        return self.state is State.CANCELLING and self._suspends

    def open_file(self, file: str, facts: TeacherFacts | None = None) -> None:
        """Inspects a teacher file; does nothing while a run is on."""
        if self.running:
            return
        _log.info("open %r", file)
        self.file, self.facts, self.card = file, facts or TeacherFacts(), None
        self.cardChanged.emit(None)
        self._inspect()

    def answer(self, facts: TeacherFacts) -> None:
        """Inspects the same file again, with what the user has said."""
        if not self.running and self.file:
            self.facts = facts
            self._inspect()

    def consider(self, choices: AuditPlan) -> None:
        """Something else was chosen: looks at what such a run would cost, and leaves the state as it is."""
        before, self.choices = self.choices, choices
        if dataclasses.replace(choices, data=before.data) == before:
            return  # images cost nothing
        if self.state in (State.INSPECTING, State.REFUSED):
            self._inspect()
        elif self.state in STARTABLE_STATES:
            self._submit_inspection()
            # What ``auto`` would choose depends on the device alone.
            other_device = choices.device != before.device
            known = None if other_device or self._cost is None else dataclasses.replace(self._cost, seconds={})
            self._tell_cost(known)

    def look_at_images(self) -> None:
        """Images were chosen, perhaps once more: says what they are, as soon as the teacher is known."""
        self._images_known = False
        if self.choices.data is not None and self._inspecting:
            self._submit_inspection()
        elif self.choices.data is not None and self.card is not None and self.can_start:
            self._submit(ImagesJob(self.choices.data, self.card))

    def start(self, plan: AuditPlan, expected_s: float | None = None) -> None:
        """Starts a run if one may start; it is expected to take so many seconds."""
        if not self.can_start:
            return
        _log.info("run %s", plan.to_json())
        self.plan, self.expected_s, self.failure, self.result = plan, expected_s, None, None
        self._folder, self._discards, self._suspends = "", False, False
        self.runStarted.emit(plan)
        self._drop_inspection()
        self._job = self._engine.submit(AuditJob(plan))
        self._enter(State.RUNNING)

    def pause_or_resume(self) -> None:
        """Asks the engine to stand still or to go on; the state follows when it does."""
        if self.state in (State.RUNNING, State.PAUSED):
            self._engine.command("pause" if self.state is State.RUNNING else "resume")

    def stop_and_keep(self) -> None:
        """Ends the run here, keeping the student as it is; does nothing where there is none."""
        if self.can_keep and self.state in (State.RUNNING, State.PAUSED):
            self._engine.command("stop")
            self._enter(State.STOPPING)

    def cancel(self) -> None:
        """Drops the run and what it has left; of one that went on, what it had left before stays."""
        if self.state in (State.RUNNING, State.PAUSED, State.STOPPING) or self.suspending:
            self._suspends = False
            self._discards = self.plan is not None and not self.plan.resume
            self._engine.command("cancel")
            self.state = State.CANCELLING
            self.stateChanged.emit(self.state)  # also where it was to be kept for later: the views say what it is now

    def suspend(self) -> None:
        """Drops the run, but so that it can go on later."""
        if self.can_suspend:
            self._suspends = True
            self._engine.command("suspend")
            self._enter(State.CANCELLING)

    def _inspect(self) -> None:
        self.failure, self._images_known = None, False
        self._submit_inspection()
        self.state = State.INSPECTING
        self.stateChanged.emit(self.state)  # also while another file is being inspected: the views name this one

    def _submit_inspection(self) -> None:
        data = None if self._images_known else self.choices.data
        self._submit(InspectJob(self.file, self.facts, dataclasses.replace(self.choices, data=data)))

    def _submit(self, job: InspectJob | ImagesJob) -> None:
        self._drop_inspection()
        self._job = self._engine.submit(job)
        self._inspecting = True
        self.inspectionBegan.emit()

    def _tell_cost(self, cost: CostEstimated | None) -> None:
        self._cost = cost
        self.costChanged.emit(cost)

    def _drop_inspection(self) -> None:
        """Nobody waits any longer for what the engine is still looking at (such as the cost of a run)."""
        if self._inspecting:
            self._engine.command("cancel")
            self._inspecting = False

    def _on_events_arrived(self, job: int, events: list[Event]) -> None:
        for event in events:
            if isinstance(event, DevicesListed):
                self.devicesChanged.emit(event)
            elif job == self._job:
                self._take(event)
            elif job == 0 and isinstance(event, AuditFailed):  # The engine could not even start.
                self._report(event)

    def _take(self, event: Event) -> None:
        was_running = self.running
        if isinstance(event, TeacherInspected):
            self.card = event.card
            if not was_running:
                self.cardChanged.emit(event.card)
            if self.state is State.INSPECTING:
                # The card is enough to go on; what a run costs comes later.
                self._enter(State.ASKING if self._open_questions() else State.READY)
        elif isinstance(event, CostEstimated):
            self._tell_cost(event)
        elif isinstance(event, ImagesInspected):
            self._images_known = True
            self.imagesInspected.emit(event)
        elif isinstance(event, PauseChanged) and self.state in (State.RUNNING, State.PAUSED):
            self._enter(State.PAUSED if event.paused else State.RUNNING)
        elif isinstance(event, InspectionFinished):
            self._inspecting = False
        elif isinstance(event, RunBegan):
            self._folder = event.folder
            history.remember(event.folder)
        elif isinstance(event, AuditFinished):
            _log.info("finished in %r", event.folder)
            self.result = event
            self.runFinished.emit(event)
            self._enter(State.FINISHED)
        elif isinstance(event, AuditCancelled):
            self._on_cancelled()
        elif isinstance(event, AuditFailed):
            self._on_failed(event)
        if was_running:
            self.eventHappened.emit(event)

    def _on_cancelled(self) -> None:
        if self.running:
            _log.info("cancelled, discarded" if self._discards else "cancelled")
            problem = discard_run(self._folder) if self._discards and self._folder else None
            self.runCancelled.emit()
            if problem is not None:  # told before the window may close
                self._report(problem)
            self._enter(State.READY)

    def _on_failed(self, event: AuditFailed) -> None:
        if self._inspecting:
            self._inspecting = False
            self._on_inspection_failed(event)
            return
        self._report(event)  # before the state: a window that was to close then stays
        if self.running:
            self._enter(State.FAILED)

    def _on_inspection_failed(self, event: AuditFailed) -> None:
        """A file that cannot be used is refused; where something else is the matter what is known of it stays."""
        asked = self.state is State.INSPECTING and self.card is not None and bool(self.card.questions)
        if asked and event.exit_code == UsageError.exit_code:
            self._enter(State.ASKING)
            self.answersRefused.emit(event)
            return
        ended = self.state in (State.FINISHED, State.FAILED)  # what a run has left stays on the screen
        if ended or (self.state is State.READY and event.exit_code != TeacherRefusedError.exit_code):
            self._tell_cost(None)
        else:
            self.card = None
            self.cardChanged.emit(None)
            self._enter(State.REFUSED)
        self._report(event)

    def _report(self, event: AuditFailed) -> None:
        _log.error("failed: %s (%s) %s\n%s", event.what, event.where, event.why, event.details)
        self.failure = event
        self.jobFailed.emit(event)

    def _open_questions(self) -> bool:
        return self.card is None or bool(self.card.questions)

    def _enter(self, state: State) -> None:
        if state is not self.state:
            self.state = state
            self.stateChanged.emit(state)

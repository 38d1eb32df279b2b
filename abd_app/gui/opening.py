"""Act one: a teacher comes into the window, alone or with a whole plan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QObject, QTimer, Signal

from abd_app.errors import AuditError, UsageError
from abd_app.events import Event, RunBegan
from abd_app.gui.session import Session
from abd_app.gui.settings import Settings
from abd_app.gui.setup.draft import Draft
from abd_app.gui.states import State
from abd_app.plan import AuditPlan
from abd_app.teacher import TeacherCard


class Opening(QObject):
    """Opens files, the demo, and the plans of earlier runs; does nothing while a run is on.

    Args:
        demo: Makes the plan of the demo, given an output folder; ``None``: there is no demo.
    """

    begun = Signal()
    """Something is opened: what was said of the last file holds no longer."""
    failed = Signal(AuditError)
    startWanted = Signal()
    """The run that is to go on can start."""

    def __init__(
        self,
        session: Session,
        draft: Draft,
        settings: Settings,
        demo: Callable[[str], AuditPlan] | None,
        parent: QObject,
    ) -> None:
        super().__init__(parent)
        self._session, self._draft, self._settings, self._demo = session, draft, settings, demo
        self._starts_when_ready = False
        self._chosen = ""
        session.stateChanged.connect(self._on_state_changed)
        session.cardChanged.connect(self._on_card_changed)
        session.eventHappened.connect(self._on_event)
        session.runCancelled.connect(self._forget_run)

    def open_file(self, file: str) -> None:
        """Looks into a teacher file."""
        if not self._begin():
            return
        file = str(Path(file).absolute())
        if file != self._session.file:
            self._draft.forget_teacher()
        self._chosen = file
        self._session.open_file(file)

    def open_demo(self) -> None:
        """The built-in teacher: everything is filled in."""
        if self._demo is None or self._session.running:
            return
        try:
            self.repeat(self._demo(str(self._draft.runs / "demo")))
        except AuditError as error:
            self.failed.emit(error)

    def repeat(self, plan: AuditPlan) -> None:
        """The teacher and every choice of a plan; a run of it gets a folder of its own."""
        self._open(plan, folder="")

    def go_on(self, plan: AuditPlan, folder: str) -> None:
        """A run that was interrupted goes on by itself, once its teacher has been looked into again."""
        self._open(plan, folder=folder)
        self._starts_when_ready = not self._session.running

    def _on_card_changed(self, card: TeacherCard | None) -> None:
        """A file that was chosen, and turned out to be a teacher, is worth offering again."""
        if card is not None and self._session.file == self._chosen:
            self._settings.add_recent_file(self._chosen)

    def _begin(self) -> bool:
        """Whether something may be opened now; then what was opened before, and was to start, is over."""
        if self._session.running:
            return False
        self._starts_when_ready = False
        self.begun.emit()
        return True

    def _open(self, plan: AuditPlan, *, folder: str) -> None:
        if not self._begin():
            return
        self._draft.replace(plan)
        self._draft.choose(out=folder, resume=bool(folder))
        self._session.open_file(plan.teacher_file, plan.facts)

    def _on_state_changed(self, state: State) -> None:
        if not self._starts_when_ready or state is State.INSPECTING:
            return
        self._starts_when_ready = False
        if state is State.READY:
            QTimer.singleShot(0, self.startWanted.emit)  # when all have seen that it is ready
            return
        self._forget_run()  # what the user makes of it is another run
        if state is State.ASKING:
            self.failed.emit(
                UsageError(
                    self.tr("The run could not go on."),
                    where=self._session.file,
                    why=self.tr("It is not the file that the run began with: it leaves questions open."),
                    remedy=self.tr("Put the right file back and choose Continue in the history again."),
                )
            )

    def _on_event(self, event: Event) -> None:
        if isinstance(event, RunBegan):
            self._forget_run()

    def _forget_run(self) -> None:
        """The next run is another one; one that failed before it went on can be tried again."""
        if self._draft["resume"]:
            self._draft.choose(out="", resume=False)

"""The bar at the bottom: how far the run is, and what can be done about it."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from abd_app.events import DevicesListed, Event
from abd_app.gui.live.live_view import REDRAW_INTERVAL_MS
from abd_app.gui.live.run_clock import RunClock
from abd_app.gui.look import icons
from abd_app.gui.look.labels import ElidedLabel, plain_label
from abd_app.gui.look.wording import byte_size, count, duration, phase_name, role_name
from abd_app.gui.session import Session
from abd_app.gui.states import State
from abd_app.plan import AuditPlan
from abd_app.text import percent, visible

_PROGRESS_PARTS = 1000
_HEIGHT_PX = 58
_SLOW_STEPS_PER_S = 0.1


class RunBar(QFrame):
    """Phase, step, time left, speed, memory; pause, stop and keep, cancel (asks, in place)."""

    def __init__(self, session: Session, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.setObjectName("runBar")
        self.setMinimumHeight(_HEIGHT_PX)
        self._session = session
        self._time = clock
        self._clock = RunClock()
        self._devices = ""
        self.phase = plain_label(role="strong")
        self.facts = ElidedLabel(mode=Qt.TextElideMode.ElideRight, role="muted")
        self.progress = QProgressBar()
        self.progress.setRange(0, _PROGRESS_PARTS)
        self.progress.setTextVisible(False)
        self.progress.setAccessibleName(self.tr("Progress of the run"))
        self.pause = self._button("pause", self.tr("Pause"), session.pause_or_resume)
        self.stop = self._button("stop", self.tr("Stop and keep"), session.stop_and_keep)
        self.cancel = self._button("cancel", self.tr("Cancel"), self.ask_to_cancel)
        self.discard = QPushButton(self.tr("Discard"))
        self.discard.setProperty("role", "danger")
        self.discard.clicked.connect(session.cancel)
        self.keep_running = QPushButton(self.tr("Keep running"))
        self.keep_running.clicked.connect(self.stop_asking)
        self._buttons = _row(self.pause, self.stop, self.cancel)
        self.question = plain_label(role="strong")
        self._answers = _row(self.question, self.keep_running, self.discard)
        self._build()
        self._timer = QTimer(self)
        self._timer.setInterval(REDRAW_INTERVAL_MS)
        self._timer.timeout.connect(self.refresh)
        session.runStarted.connect(self._on_run_started)
        session.eventHappened.connect(self._on_event)
        session.stateChanged.connect(self._on_state_changed)
        self._on_state_changed(session.state)

    def _build(self) -> None:
        line = QHBoxLayout()
        line.setSpacing(14)
        line.addWidget(self.phase)
        line.addWidget(self.facts, 1)
        left = QVBoxLayout()
        left.setSpacing(7)
        left.addLayout(line)
        left.addWidget(self.progress)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(18, 10, 14, 10)
        layout.setSpacing(20)
        layout.addLayout(left, 1)
        layout.addWidget(self._buttons)
        layout.addWidget(self._answers)

    def _button(self, meaning: str, text: str, action: object) -> QPushButton:
        button = QPushButton(text)
        icons.put(button, meaning)
        button.clicked.connect(action)
        return button

    def show_devices(self, event: DevicesListed) -> None:
        """Says what the engine can run on, once it is up."""
        names = (
            visible(name) + (self.tr(" ({size} free)").format(size=byte_size(free)) if free else "")
            for _, name, free in event.devices
        )
        self._devices = "  ·  ".join(names)
        self.refresh()

    def ask_to_cancel(self) -> None:
        """Asks in place whether to drop the run."""
        self._buttons.hide()
        self._answers.show()
        self.keep_running.setFocus()

    def stop_asking(self) -> None:
        """The run stays."""
        self._answers.hide()  # hidden, the question takes no room from what is told of the run
        self._buttons.setVisible(self._session.running)

    def _on_run_started(self, plan: AuditPlan) -> None:
        self._clock = RunClock(2 if plan.compare else 1, self._session.expected_s, self._time)
        self.question.setText(
            self.tr("Discard what is new since the last checkpoint?") if plan.resume else self.tr("Discard this run?")
        )
        self.discard.setToolTip(
            self.tr("Its folder stays, and it can go on from its last checkpoint")
            if plan.resume
            else self.tr("What it has learned goes to the trash, with its folder")
        )
        self.stop.setToolTip(
            self.tr("End here and keep the student as it is now; before its first step, after it")
            if self._session.can_keep
            else self.tr("A teacher that is being purified can be kept only at the end")
        )

    def _on_event(self, event: Event) -> None:
        self._clock.take(event)

    def _on_state_changed(self, state: State) -> None:
        running = self._session.running
        self._clock.pause(state is State.PAUSED)
        if state not in (State.RUNNING, State.PAUSED):  # else a pause that comes late would take the question away
            self._answers.hide()
        self._buttons.setVisible(running and self._answers.isHidden())
        self.progress.setVisible(running)
        paused = state is State.PAUSED
        self.pause.setText(self.tr("Resume") if paused else self.tr("Pause"))
        icons.put(self.pause, "resume" if paused else "pause")
        self.pause.setEnabled(state in (State.RUNNING, State.PAUSED))
        self.stop.setEnabled(state in (State.RUNNING, State.PAUSED) and self._session.can_keep)
        self.cancel.setEnabled(running and (state is not State.CANCELLING or self._session.suspending))
        if running:
            self._timer.start()
        else:
            self._timer.stop()
        self.refresh()

    def refresh(self) -> None:
        """Shows how far the run is now."""
        learned = self._clock.step > 0 or self._clock.phase == "export"
        titles = {
            State.EMPTY: self.tr("No teacher yet"),
            State.INSPECTING: self.tr("Looking into the file"),
            State.ASKING: self.tr("Waiting for your answers"),
            State.READY: self.tr("Ready"),
            State.REFUSED: self.tr("Not usable"),
            State.PAUSED: self.tr("Paused"),
            State.STOPPING: self.tr("Finishing with what there is")
            if learned
            else self.tr("Finishing after the first step"),
            State.CANCELLING: self.tr("Keeping it for later") if self._session.suspending else self.tr("Cancelling"),
            State.FINISHED: self.tr("Finished"),
            State.FAILED: self.tr("Failed"),
        }
        title = titles.get(self._session.state) or phase_name(self._clock.phase) or self.tr("Starting")
        self.phase.setText(title)
        if self._session.running:
            self.facts.set_whole_text(self._run_facts())
            self.progress.setValue(round(_PROGRESS_PARTS * self._clock.progress))
        else:
            self.facts.set_whole_text(self._devices or self.tr("The engine is starting…"))

    def _run_facts(self) -> str:
        clock = self._clock
        facts = []
        if clock.share is not None:
            facts.append(percent(clock.share, 0))
        if clock.role == "twin":
            facts.append(role_name("twin"))
        if clock.total_steps:
            facts.append(
                self.tr("step {step} of {total}").format(step=count(clock.step), total=count(clock.total_steps))
            )
        if self._session.state is State.RUNNING:
            if (left := clock.seconds_left) is not None:
                facts.append(self.tr("about {time} left").format(time=duration(left)))
            if (speed := clock.steps_per_s) is not None:
                facts.append(self._speed_text(speed))
        if clock.memory_bytes:
            facts.append(self.tr("{size} memory").format(size=byte_size(clock.memory_bytes)))
        return "  ·  ".join(facts)

    def _speed_text(self, steps_per_s: float) -> str:
        if steps_per_s < _SLOW_STEPS_PER_S:
            return self.tr("{time} a step").format(time=duration(1 / steps_per_s))
        speed = f"{steps_per_s:.1f}" if steps_per_s < 100 else count(round(steps_per_s))
        return self.tr("{speed} steps/s").format(speed=speed)


def _row(*widgets: QWidget) -> QWidget:
    row = QWidget()
    layout = QHBoxLayout(row)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(8)
    layout.addStretch(1)
    for widget in widgets:
        layout.addWidget(widget)
    return row

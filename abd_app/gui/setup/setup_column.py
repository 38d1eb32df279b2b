"""The left column: teacher, evaluation and plan, with the one big button below them."""

from __future__ import annotations

import contextlib

from PySide6.QtCore import QEvent, Qt, Signal
from PySide6.QtWidgets import QPushButton, QScrollArea, QVBoxLayout, QWidget

from abd_app.errors import UsageError
from abd_app.events import CostEstimated
from abd_app.gui.file_chooser import FileChooser
from abd_app.gui.look import icons
from abd_app.gui.look.card import scrolled
from abd_app.gui.look.labels import plain_label
from abd_app.gui.look.wording import duration
from abd_app.gui.session import Session
from abd_app.gui.setup.draft import Draft
from abd_app.gui.setup.evaluation_panel import EvaluationPanel
from abd_app.gui.setup.plan_panel import PlanPanel
from abd_app.gui.setup.teacher_panel import TeacherPanel
from abd_app.gui.states import State
from abd_app.teacher import TeacherCard

MIN_WIDTH_PX = 344
_MAX_MIN_WIDTH_PX = 440
_MIN_CHARS = 44
_CARD_MARGIN_PX = 6


class SetupColumn(QWidget):
    """Everything that is decided before a run."""

    distillRequested = Signal()

    def __init__(self, session: Session, draft: Draft, chooser: FileChooser) -> None:
        super().__init__()
        self._session = session
        self._draft = draft
        self._cost_known = self._busy = False
        self.teacher = TeacherPanel(session)
        self.evaluation = EvaluationPanel(draft, chooser)
        self.plan = PlanPanel(draft, chooser)
        self.distill = QPushButton(self.tr("Distill safely"))
        self.distill.setProperty("role", "primary")
        self.distill.setMinimumHeight(42)
        icons.put(self.distill, "distill", "on_accent", 20)
        self.distill.clicked.connect(self.distillRequested)
        self._estimate = plain_label(role="small", wrap=True)
        self._estimate.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._start = QVBoxLayout()
        self._start.setSpacing(8)
        self._start.addWidget(self.distill)
        self._start.addWidget(self._estimate)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        self.scroll_area = self._make_scroll()
        layout.addWidget(self.scroll_area, 1)
        layout.addLayout(self._start)
        self.scroll_area.verticalScrollBar().rangeChanged.connect(self._fit_to_cards)
        session.stateChanged.connect(self._on_state_changed)
        session.cardChanged.connect(self._on_card_changed)
        session.costChanged.connect(self._on_cost_changed)
        session.devicesChanged.connect(self.plan.show_devices)
        self.evaluation.imagesChosen.connect(session.look_at_images)
        session.imagesInspected.connect(self.evaluation.show_images)
        session.runStarted.connect(self.evaluation.clear_warnings)
        session.eventHappened.connect(self.evaluation.take)
        for signal in (draft.changed, draft.replaced):
            signal.connect(self._consider)
            signal.connect(self._show_estimate)
            signal.connect(self._name_button)
        self._on_state_changed(session.state)
        self._fit_to_font()

    def expected_seconds(self) -> float | None:
        """How long a run as it is chosen now will take, its twin included; ``None``: nobody knows."""
        seconds = self.plan.budget.seconds()
        return None if seconds is None or self._draft["resume"] else seconds * (2 if self._draft["compare"] else 1)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._fit_to_font()

    def _fit_to_font(self) -> None:
        self.setMinimumWidth(
            min(_MAX_MIN_WIDTH_PX, max(MIN_WIDTH_PX, self.fontMetrics().averageCharWidth() * _MIN_CHARS))
        )

    def _fit_to_cards(self, _: int, most: int) -> None:
        """The button is as wide as the cards, which a scroll bar makes narrower."""
        bar_px = self.scroll_area.verticalScrollBar().sizeHint().width() if most else 0
        self._start.setContentsMargins(0, 0, _CARD_MARGIN_PX + bar_px, 0)

    def _make_scroll(self) -> QScrollArea:
        content = QWidget()
        cards = QVBoxLayout(content)
        cards.setContentsMargins(0, 0, _CARD_MARGIN_PX, 0)
        cards.setSpacing(12)
        for card in (self.teacher, self.evaluation, self.plan):
            cards.addWidget(card)
        cards.addStretch(1)
        return scrolled(content)

    def _on_state_changed(self, state: State) -> None:
        for panel in (self.evaluation, self.plan):
            panel.setEnabled(not self._session.running)
        self.distill.setEnabled(self._session.can_start)
        reasons = {
            State.EMPTY: self.tr("Open a model file first"),
            State.INSPECTING: self.tr("One moment: the file is being looked into"),
            State.ASKING: self.tr("Answer the questions about the teacher first"),
            State.REFUSED: self.tr("Open another model file first"),
        }
        self.distill.setToolTip(reasons.get(state, self.tr("Train a student without the backdoor (Ctrl+Return)")))
        if state is State.READY:
            self.distill.setFocus()
        if state in (State.EMPTY, State.INSPECTING, State.ASKING, State.REFUSED):
            self.scroll_area.verticalScrollBar().setValue(0)
        self._show_estimate()

    def _on_card_changed(self, card: TeacherCard | None) -> None:
        self.evaluation.show_card(card)
        if card is None:
            self._on_cost_changed(None)

    def _on_cost_changed(self, cost: CostEstimated | None) -> None:
        self._cost_known = cost is not None and bool(cost.seconds)
        self._busy = cost is not None and cost.busy
        self.plan.show_cost(cost)
        self._show_estimate()

    def _consider(self) -> None:
        with contextlib.suppress(UsageError):  # "Distill safely" says what excludes each other
            self._session.consider(self._draft.choices())

    def _name_button(self) -> None:
        self.distill.setText(self.tr("Continue the run") if self._draft["resume"] else self.tr("Distill safely"))

    def _show_estimate(self) -> None:
        text = self.distill.toolTip()
        if self._session.can_start:
            seconds = self.expected_seconds()
            measuring = self._session.inspecting and not self._cost_known
            text = self.tr("How long it takes is being measured…") if measuring else ""
            if seconds is not None:
                text = self.tr("about {time}").format(time=duration(seconds))
                text += self.tr(", twin included") if self._draft["compare"] else ""
                text += self.tr("; less once other programs leave the processor alone") if self._busy else ""
        elif self._session.running:
            text = self.tr("A run is in progress")
        self._estimate.setText(text)

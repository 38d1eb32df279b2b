"""Teacher: a drop zone that becomes a card."""

from __future__ import annotations

from itertools import pairwise

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QApplication, QGridLayout, QProgressBar, QToolButton, QVBoxLayout, QWidget

from abd_app.events import AuditFailed
from abd_app.gui.look.card import Card, empty, icon_button
from abd_app.gui.look.findings_list import FindingsList
from abd_app.gui.look.labels import ElidedLabel, plain_label
from abd_app.gui.look.wording import byte_size, count, file_name, with_places
from abd_app.gui.session import Session
from abd_app.gui.setup.drop_zone import DropZone
from abd_app.gui.setup.question_form import QuestionForm
from abd_app.gui.states import State
from abd_app.teacher import TeacherCard
from abd_app.text import visible


class TeacherPanel(Card):
    """Shows what is known about the teacher and asks what is not."""

    openRequested = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__(self.tr("Teacher"), "model")
        self._session = session
        self.drop_zone = DropZone()
        self.drop_zone.clicked.connect(self.openRequested)
        self.change = icon_button("swap", self.tr("Open another file (Ctrl+O)"))
        self.change.clicked.connect(self.openRequested)
        self.header.addWidget(self.change)
        self._looking = self._make_looking()
        self._facts = _FactGrid()
        self._name = ElidedLabel(role="strong")
        self.questions = QuestionForm()
        self.questions.answered.connect(session.answer)
        self._findings = FindingsList()
        for widget in (self._name, self.drop_zone, self._looking, self.questions, self._facts, self._findings):
            self.body.addWidget(widget)
        session.stateChanged.connect(self._on_state_changed)
        session.cardChanged.connect(self._on_card_changed)
        session.answersRefused.connect(self._on_answers_refused)
        self._on_card_changed(None)
        self._on_state_changed(session.state)

    def _make_looking(self) -> QWidget:
        looking = QWidget()
        layout = QVBoxLayout(looking)
        layout.setContentsMargins(0, 4, 0, 4)
        bar = QProgressBar()
        bar.setRange(0, 0)
        bar.setTextVisible(False)
        bar.setAccessibleName(self.tr("Looking into the file"))
        layout.addWidget(plain_label(self.tr("Looking into the file…"), "muted"))
        layout.addWidget(bar)
        return looking

    def _on_state_changed(self, state: State) -> None:
        empty = state is State.EMPTY
        looking = state is State.INSPECTING
        self.drop_zone.setVisible(state in (State.EMPTY, State.REFUSED))
        self.change.setVisible(not empty)
        self.change.setEnabled(not self._session.running)
        self._name.setVisible(not empty)
        self._name.set_whole_text(file_name(self._session.file), visible(self._session.file))
        self._looking.setVisible(looking)
        self.questions.setEnabled(not self._session.running and not looking)
        if state is State.ASKING:
            self.questions.focus_first()

    def _on_answers_refused(self, failure: AuditFailed) -> None:
        told = " ".join(filter(None, (failure.what, failure.why, failure.remedy)))
        self.questions.refuse(visible(with_places(told)))

    def _on_card_changed(self, card: TeacherCard | None) -> None:
        questions = card.questions if card is not None else ()
        if questions:
            self.questions.ask(questions, self._session.facts)
        self.questions.setVisible(bool(questions))
        self._facts.setVisible(card is not None)
        self._findings.show_findings(card.findings if card is not None else ())
        if card is not None:
            self._facts.show_card(card)
            order = (self.change, *self.questions.lines, self.questions.confirm, self._facts.copy)
            for before, after in pairwise(order):  # as they stand; what is new would be reached last of all
                QWidget.setTabOrder(before, after)


class _FactGrid(QWidget):
    """The facts of a card as two columns."""

    def __init__(self) -> None:
        super().__init__()
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setHorizontalSpacing(12)
        self._grid.setVerticalSpacing(5)
        self._grid.setColumnStretch(1, 1)
        self.copy: QToolButton
        """Copies the SHA-256; there once a card is."""

    def show_card(self, card: TeacherCard) -> None:
        """Replaces the facts shown."""
        empty(self._grid)
        for row, (name, value) in enumerate(self._facts_of(card)):
            known = value or self.tr("not said")
            label = ElidedLabel(visible(known), Qt.TextElideMode.ElideRight, "" if value else "warning")
            self._grid.addWidget(plain_label(name, "muted"), row, 0)
            self._grid.addWidget(label, row, 1, 1, 1 if name == "SHA-256" else 2)
            if name == "SHA-256":
                self.copy = icon_button("copy", self.tr("Copy the SHA-256"))
                self.copy.setObjectName("small")
                self.copy.clicked.connect(lambda: QApplication.clipboard().setText(card.sha256))
                self._grid.addWidget(self.copy, row, 2)

    def _facts_of(self, card: TeacherCard) -> list[tuple[str, str]]:
        size = f"{card.input_size[0]} × {card.input_size[1]}" if card.input_size else ""
        if size and card.channels:
            size += self.tr(", RGB") if card.channels == 3 else self.tr(", grey")
        return [
            (self.tr("Format"), f"{card.format}, {byte_size(card.size_bytes)}"),
            (self.tr("Architecture"), card.architecture or ""),
            (self.tr("Parameters"), count(card.parameters) if card.parameters else ""),
            (self.tr("Classes"), count(card.num_classes) if card.num_classes else ""),
            (self.tr("Images"), size),
            (self.tr("Mean"), _numbers(card.mean)),
            (self.tr("Std"), _numbers(card.std)),
            (self.tr("Answers"), self._answers(card)),
            ("SHA-256", card.sha256),
        ]

    def _answers(self, card: TeacherCard) -> str:
        names = {"logits": self.tr("logits"), "probabilities": self.tr("probabilities")}
        return names[card.answers] if card.answers else ""


def _numbers(values: tuple[float, ...] | None) -> str:
    return "  ".join(f"{value:.4g}" for value in values) if values else ""

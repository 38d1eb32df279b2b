"""The questions about a teacher, asked in place, each with a guess and where it comes from, if there is one."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QLineEdit, QPushButton, QVBoxLayout

from abd_app.errors import UsageError
from abd_app.gui.look.card import empty
from abd_app.gui.look.labels import plain_label
from abd_app.gui.setup.answer_field import AnswerField
from abd_app.gui.setup.answers import with_answers
from abd_app.plan import TeacherFacts
from abd_app.teacher import Question


class QuestionForm(QFrame):
    """A form with one field per question."""

    answered = Signal(object)
    """The completed :class:`TeacherFacts`."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("question")
        self._facts = TeacherFacts()
        self._fields: dict[str, AnswerField] = {}
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(12, 10, 12, 12)
        self._layout.setSpacing(8)
        self._rows = QVBoxLayout()
        self._rows.setSpacing(9)
        title = plain_label(self.tr("The file does not say this:"), role="strong", wrap=True)
        self._problem = plain_label(role="danger", wrap=True)
        self.confirm = QPushButton(self.tr("Use these answers"))
        self.confirm.clicked.connect(self._on_confirmed)
        self._layout.addWidget(title)
        self._layout.addLayout(self._rows)
        self._layout.addWidget(self._problem)
        self._layout.addWidget(self.confirm)
        self._problem.hide()

    def ask(self, questions: tuple[Question, ...], facts: TeacherFacts) -> None:
        """Shows the questions, guesses filled in."""
        self._facts = facts
        self._fields = {}
        empty(self._rows)
        self._problem.hide()
        for question in questions:
            field = AnswerField(question)
            field.confirmed.connect(self._on_confirmed)
            self._fields[question.fact] = field
            self._rows.addWidget(field)

    def field(self, fact: str) -> AnswerField:
        """The field that answers ``fact``."""
        return self._fields[fact]

    @property
    def lines(self) -> list[QLineEdit]:
        """Where the answers are typed, from above."""
        return [line for field in self._fields.values() for line in field.lines]

    def focus_first(self) -> None:
        """Puts the cursor into the first field that still needs an answer."""
        empty = [field for field in self._fields.values() if not field.text()]
        for field in [*empty, *self._fields.values()][:1]:
            field.take_focus()

    def _on_confirmed(self) -> None:
        answers = {fact: field.text() for fact, field in self._fields.items()}
        self._problem.hide()
        for fact, text in answers.items():
            self._fields[fact].mark(wrong=False)
            try:
                with_answers(TeacherFacts(), {fact: text})
            except UsageError as error:
                self._complain(fact, error)
                return
        self.answered.emit(with_answers(self._facts, answers))

    def refuse(self, why: str) -> None:
        """The answers cannot be: says why, and leaves them to be put right."""
        self._problem.setText(why)
        self._problem.show()

    def _complain(self, fact: str, error: UsageError) -> None:
        self._fields[fact].mark(wrong=True)
        self._problem.setText(f"{error.what} {error.remedy}")
        self._problem.show()
        self._fields[fact].take_focus()

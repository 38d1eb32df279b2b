"""The field that answers one question about a teacher."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from abd_app.gui.look.labels import plain_label
from abd_app.teacher import Question
from abd_app.text import visible

_EXAMPLES = {
    "architecture": ("wrn-16-2",),
    "input_size": ("32x32",),
    "mean_std": ("0.49, 0.48, 0.45", "0.25, 0.24, 0.26"),
}


class AnswerField(QWidget):
    """One line, or two lines (means, deviations), with the question's guess in it."""

    confirmed = Signal()
    """Return was pressed."""

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.lines: list[QLineEdit] = []
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addWidget(plain_label(visible(question.prompt), "small", wrap=True))
        if question.fact == "mean_std":
            mean, _, std = question.guess.partition("/")
            for name, guess in ((self.tr("mean"), mean), (self.tr("std"), std)):
                layout.addLayout(self._named_line(name, self._add_line(question, guess.strip())))
        else:
            layout.addWidget(self._add_line(question, question.guess))
        if question.why:
            layout.addWidget(plain_label(visible(question.why), "small", wrap=True))

    def text(self) -> str:
        """The answer in the syntax of the command-line option."""
        return " / ".join(line.text() for line in self.lines) if any(line.text() for line in self.lines) else ""

    def set_text(self, text: str) -> None:
        """Answers in the same syntax."""
        for line, part in zip(self.lines, text.split("/"), strict=False):
            line.setText(part.strip())

    def take_focus(self) -> None:
        """Puts the cursor into the field."""
        self.lines[0].setFocus()
        self.lines[0].selectAll()

    def mark(self, *, wrong: bool) -> None:
        """Shows that the answer makes no sense, or no longer."""
        for line in self.lines:
            line.setProperty("wrong", wrong)
            line.style().unpolish(line)
            line.style().polish(line)

    def _named_line(self, name: str, line: QLineEdit) -> QHBoxLayout:
        row = QHBoxLayout()
        row.setSpacing(8)
        label = plain_label(name, "small")
        label.setMinimumWidth(62)
        line.setAccessibleName(f"{line.accessibleName()} ({name})")
        row.addWidget(label)
        row.addWidget(line, 1)
        return row

    def _add_line(self, question: Question, guess: str) -> QLineEdit:
        line = QLineEdit(guess)
        line.setAccessibleName(visible(question.prompt))
        examples = _EXAMPLES.get(question.fact, ("",))
        example = examples[min(len(self.lines), len(examples) - 1)]
        line.setPlaceholderText(self.tr("e.g. {example}").format(example=example))
        line.setCursorPosition(0)
        line.returnPressed.connect(self.confirmed)
        line.textEdited.connect(lambda: self.mark(wrong=False))
        self.lines.append(line)
        return line

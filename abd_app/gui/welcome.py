"""What the centre shows before the first run: the three acts, with the present one lit."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from abd_app.gui.look import icons
from abd_app.gui.look.card import scrolled
from abd_app.gui.look.labels import plain_label, set_role
from abd_app.gui.states import State

_WIDTH_PX = 560


class Welcome(QFrame):
    """The three acts and a sentence about what comes next."""

    demoRequested = Signal()

    def __init__(self, *, with_demo: bool) -> None:
        super().__init__()
        self.setObjectName("card")
        self._symbol = QLabel()
        icons.put(self._symbol, "distill", "accent", 52)
        self._title = plain_label(role="title", wrap=True)
        self._text = plain_label(role="muted", wrap=True)
        self._acts = [
            _Act(
                1,
                self.tr("Open the model"),
                self.tr("A .pt, .pth, .safetensors or .onnx file that somebody else trained."),
            ),
            _Act(
                2,
                self.tr("Distill safely"),
                self.tr("A student learns its skill without any data, and not its backdoor."),
            ),
            _Act(
                3,
                self.tr("Export ONNX"),
                self.tr("The student as one file, with a report that says what was measured."),
            ),
        ]
        self.demo = QPushButton(self.tr("Try the demo teacher"))
        icons.put(self.demo, "demo")
        self.demo.clicked.connect(self.demoRequested)
        self._with_demo = with_demo
        whole = QVBoxLayout(self)
        whole.addWidget(scrolled(self._make_page()))
        self.show_state(State.EMPTY)

    def _make_page(self) -> QWidget:
        """The column, in the middle."""
        page = QWidget()
        line = QHBoxLayout(page)
        line.setContentsMargins(0, 0, 0, 0)
        line.addStretch(1)
        line.addWidget(self._make_column(), 100, Qt.AlignmentFlag.AlignVCenter)
        line.addStretch(1)
        return page

    def _make_column(self) -> QWidget:
        column = QWidget()
        column.setMaximumWidth(_WIDTH_PX)
        layout = QVBoxLayout(column)
        layout.setContentsMargins(24, 24, 24, 24)
        layout.setSpacing(12)
        for widget in (self._symbol, self._title, self._text):
            layout.addWidget(widget)
        layout.addSpacing(14)
        for act in self._acts:
            layout.addWidget(act)
        layout.addSpacing(10)
        layout.addWidget(self.demo, 0, Qt.AlignmentFlag.AlignLeft)
        return column

    def show_state(self, state: State) -> None:
        """Lights the act that comes next and says what to do."""
        texts = {
            State.EMPTY: (
                self.tr("Make an untrusted model safe to use"),
                self.tr(
                    "Drop a model file anywhere on this window. Nothing in it is run, and nothing leaves this machine."
                ),
            ),
            State.INSPECTING: (
                self.tr("Looking into the file"),
                self.tr("Only the weights are read; no code in it runs."),
            ),
            State.ASKING: (
                self.tr("A few facts are missing"),
                self.tr("Weights do not say everything. Please check the answers on the left."),
            ),
            State.READY: (
                self.tr("Ready to distill"),
                self.tr(
                    "Everything has a sensible default. Labelled images and known triggers make the result stronger."
                ),
            ),
            State.REFUSED: (
                self.tr("This file cannot be used"),
                self.tr("The reason is above. Nothing in the file was run."),
            ),
        }
        title, text = texts.get(state, texts[State.READY])
        self._title.setText(title)
        self._text.setText(text)
        now = {State.EMPTY: 1, State.INSPECTING: 1, State.ASKING: 1, State.REFUSED: 1}.get(state, 2)
        for act in self._acts:
            act.show_progress(now)
        self.demo.setVisible(self._with_demo and state in (State.EMPTY, State.REFUSED))


class _Act(QWidget):
    """A number, a name and a sentence."""

    def __init__(self, number: int, title: str, text: str) -> None:
        super().__init__()
        self._number = number
        self._circle = plain_label(str(number), "step")
        self._circle.setFixedSize(32, 32)
        self._circle.setAlignment(Qt.AlignmentFlag.AlignCenter)
        texts = QVBoxLayout()
        texts.setSpacing(1)
        texts.addWidget(plain_label(title, "heading"))
        texts.addWidget(plain_label(text, "muted", wrap=True))
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 4, 0, 4)
        layout.setSpacing(14)
        layout.addWidget(self._circle, 0, Qt.AlignmentFlag.AlignTop)
        layout.addLayout(texts, 1)

    def show_progress(self, now: int) -> None:
        done = self._number < now
        set_role(self._circle, "step-done" if done else "step-now" if self._number == now else "step")
        self._circle.setText("✓" if done else str(self._number))

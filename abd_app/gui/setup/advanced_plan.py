"""The choices of a plan that most people never touch."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from abd_app.gui.file_chooser import FileChooser
from abd_app.gui.look.card import icon_button, labelled
from abd_app.gui.look.choice_box import ChoiceBox
from abd_app.gui.look.labels import ElidedLabel
from abd_app.gui.look.number_box import WholeNumberBox
from abd_app.gui.setup.draft import Draft
from abd_app.plan import DEFENSES, PRECISIONS
from abd_app.text import visible


class AdvancedPlan(QWidget):
    """Edits ``defense``, ``seed``, ``precision``, ``picture`` and ``out`` of the draft."""

    def __init__(self, draft: Draft, chooser: FileChooser) -> None:
        super().__init__()
        self._draft = draft
        self._chooser = chooser
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(8)
        self.defense = ChoiceBox((name, self._defense_name(name)) for name in DEFENSES)
        self.seed = WholeNumberBox(0, 2**31 - 1)
        self.precision = ChoiceBox((name, self._precision_name(name)) for name in PRECISIONS)
        self.picture = ElidedLabel()
        self.out = ElidedLabel()
        layout.addWidget(labelled(self.tr("Defence"), self.defense))
        layout.addWidget(labelled(self.tr("Seed"), self.seed))
        layout.addWidget(labelled(self.tr("Number format"), self.precision))
        layout.addWidget(self._path_row(self.tr("Picture for patches"), self.picture, "picture"))
        layout.addWidget(self._path_row(self.tr("Output folder"), self.out, "out"))
        self.defense.chosen.connect(lambda value: draft.choose(defense=value))
        self.precision.chosen.connect(lambda value: draft.choose(precision=value))
        self.seed.valueChanged.connect(lambda value: draft.choose(seed=value))
        draft.replaced.connect(self._show)
        draft.changed.connect(self._show_paths)
        self._show()

    def _path_row(self, title: str, label: ElidedLabel, choice: str) -> QWidget:
        open_button = icon_button("open", self.tr("Choose: {what}").format(what=title))
        clear_button = icon_button("remove", self.tr("Back to automatic: {what}").format(what=title))
        open_button.clicked.connect(lambda: self._on_path_wanted(choice, title))
        clear_button.clicked.connect(lambda: self._draft.choose(**{choice: "" if choice == "out" else None}))
        return labelled(title, label, open_button, clear_button)

    def _on_path_wanted(self, choice: str, title: str) -> None:
        path = self._chooser.folder(title) if choice == "out" else self._chooser.picture()
        if path:
            self._draft.choose(**{choice: path})

    def _show(self) -> None:
        self.defense.show_value(self._draft["defense"])
        self.precision.show_value(self._draft["precision"])
        self.seed.setValue(self._draft["seed"])
        self._show_paths()

    def _show_paths(self) -> None:
        shown = (
            (self.picture, self._draft["picture"], self.tr("drawn by the app")),
            (self.out, self._draft["out"], self.tr("a new folder per run")),
        )
        for label, path, automatic in shown:
            label.set_whole_text(visible(path) if path else automatic, visible(path or ""))

    def _defense_name(self, defense: str) -> str:
        names = {
            "abd": self.tr("Vaccine and self-retrospection (abd)"),
            "sv": self.tr("Shuffling vaccine only (sv)"),
            "sr": self.tr("Self-retrospection only (sr)"),
            "none": self.tr("None: the backdoor may survive"),
        }
        return names[defense]

    def _precision_name(self, precision: str) -> str:
        names = {"auto": self.tr("Automatic"), "fp32": "float32 (fp32)", "bf16": "bfloat16 (bf16)"}
        return names[precision]

"""Settings and help: small windows that never block the main one."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QFormLayout, QGridLayout, QPushButton, QVBoxLayout, QWidget

from abd_app.gui.file_chooser import FileChooser
from abd_app.gui.look.choice_box import ChoiceBox
from abd_app.gui.look.labels import ElidedLabel, plain_label
from abd_app.gui.look.theme import THEMES, Theme
from abd_app.gui.settings import FONT_SCALES, Settings
from abd_app.text import visible


class SettingsDialog(QDialog):
    """Theme, size of text, where runs go; every change counts at once."""

    runsFolderChanged = Signal(Path)

    def __init__(self, settings: Settings, theme: Theme, chooser: FileChooser, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Settings"))
        self.setMinimumWidth(440)
        self._settings = settings
        self._theme = theme
        self._chooser = chooser
        names = {"system": self.tr("As the system"), "light": self.tr("Light"), "dark": self.tr("Dark")}
        self.theme_box = ChoiceBox((name, names[name]) for name in THEMES)
        self.theme_box.show_value(settings.theme)
        self.scale_box = ChoiceBox((str(scale), f"{scale:.0%}") for scale in FONT_SCALES)
        self.scale_box.show_value(str(settings.font_scale))
        self.runs = ElidedLabel(visible(str(settings.runs_folder)))
        choose = QPushButton(self.tr("Choose…"))
        choose.clicked.connect(self._on_folder_wanted)
        self.theme_box.chosen.connect(self._on_theme_chosen)
        self.scale_box.chosen.connect(self._on_scale_chosen)
        form = QFormLayout()
        form.setHorizontalSpacing(18)
        form.setVerticalSpacing(12)
        form.addRow(self.tr("Theme"), self.theme_box)
        form.addRow(self.tr("Size of text"), self.scale_box)
        form.addRow(self.tr("Runs are kept in"), self.runs)
        form.addRow("", choose)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(18)
        layout.addLayout(form)
        layout.addWidget(close_button(self), 0, Qt.AlignmentFlag.AlignRight)

    def _on_theme_chosen(self) -> None:
        name = THEMES[self.theme_box.currentIndex()]
        self._settings.theme = name
        self._theme.choose(name=name)

    def _on_scale_chosen(self, scale: str) -> None:
        self._settings.font_scale = float(scale)
        self._theme.choose(scale=float(scale))

    def _on_folder_wanted(self) -> None:
        folder = self._chooser.folder(self.tr("Choose where runs are kept"))
        if folder:
            self._settings.runs_folder = Path(folder)
            self.runs.set_whole_text(visible(folder))
            self.runsFolderChanged.emit(Path(folder))


class HelpDialog(QDialog):
    """What the app does, in four sentences, and its keys."""

    def __init__(self, log: Path, parent: QWidget) -> None:
        super().__init__(parent)
        self.setWindowTitle(self.tr("Help"))
        self.setMinimumWidth(480)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(22, 20, 22, 18)
        layout.setSpacing(12)
        layout.addWidget(plain_label(self.tr("What this app does"), "heading"))
        text = self.tr(
            "It opens an image classifier that somebody else trained and trains a student from its answers on "
            "synthetic images. The defence (Anti-Backdoor Data-Free Distillation, ICML 2023) keeps a hidden trigger "
            "from being passed on.\n\n"
            "Accuracy and attack success rate (ASR) are measured on your labelled images and triggers, or estimated "
            "without them. The result says what was measured and what was not: a low rate is evidence, not a promise."
        )
        layout.addWidget(plain_label(text, wrap=True))
        layout.addWidget(plain_label(self.tr("Keys"), "heading"))
        keys = QGridLayout()
        keys.setHorizontalSpacing(20)
        for row, (key, meaning) in enumerate(self._keys()):
            keys.addWidget(plain_label(key, "strong"), row, 0)
            keys.addWidget(plain_label(meaning), row, 1)
        keys.setColumnStretch(1, 1)
        layout.addLayout(keys)
        layout.addWidget(plain_label(self.tr("Log"), "heading"))
        layout.addWidget(ElidedLabel(visible(str(log)), role="muted"))
        layout.addWidget(close_button(self), 0, Qt.AlignmentFlag.AlignRight)

    def _keys(self) -> list[tuple[str, str]]:
        return [
            ("Ctrl+O", self.tr("Open a teacher")),
            ("Ctrl+Return", self.tr("Distill safely")),
            ("Space", self.tr("Pause or resume")),
            ("Esc", self.tr("No: the run goes on, where it is asked how to end it")),
            ("Ctrl+E", self.tr("Export ONNX")),
            ("Ctrl+H", self.tr("History: earlier runs")),
            ("Ctrl+,", self.tr("Settings")),
            ("F1", self.tr("This help")),
        ]


def close_button(dialog: QDialog) -> QPushButton:
    """The default button of a dialog: it closes it."""
    button = QPushButton(dialog.tr("Close"))
    button.setDefault(True)
    button.clicked.connect(dialog.close)
    return button

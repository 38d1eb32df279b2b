"""The file dialogs, in one place, so that a test can answer them."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QCoreApplication
from PySide6.QtWidgets import QFileDialog, QWidget

MODEL_SUFFIXES = (".pt", ".pth", ".safetensors", ".onnx")


def _tr(text: str) -> str:
    return QCoreApplication.translate("file_chooser", text)


class FileChooser:
    """Asks for paths; every method returns "" if the user thinks better of it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        self._parent = parent

    def teacher(self) -> str:
        """A model file to open."""
        models = " ".join(f"*{suffix}" for suffix in MODEL_SUFFIXES)
        kinds = _tr("Models ({models});;All files (*)").format(models=models)
        return QFileDialog.getOpenFileName(self._parent, _tr("Open a teacher"), "", kinds)[0]

    def picture(self) -> str:
        """A picture: of a trigger, or to cut images from."""
        kinds = _tr("Pictures (*.png *.jpg *.jpeg *.bmp *.webp);;All files (*)")
        return QFileDialog.getOpenFileName(self._parent, _tr("Choose a picture"), "", kinds)[0]

    def image_archive(self) -> str:
        """Labelled images as ``.npz``."""
        return QFileDialog.getOpenFileName(self._parent, _tr("Choose labelled images"), "", _tr("NumPy (*.npz)"))[0]

    def folder(self, title: str) -> str:
        """A folder."""
        return QFileDialog.getExistingDirectory(self._parent, title)

    def save(self, title: str, suggestion: str, kinds: str) -> str:
        """A file to write; a name gets the suffix of the suggestion; the dialog asks before a file is replaced."""
        suffix = Path(suggestion).suffix
        while True:
            path = QFileDialog.getSaveFileName(self._parent, title, suggestion, kinds)[0]
            if not path or Path(path).suffix.lower() == suffix:
                return path
            path += suffix
            if not Path(path).exists():
                return path
            suggestion = path  # under the name that it gets: the dialog has asked about another one

"""Files that are dropped anywhere on the window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QWidget

from abd_app.gui.file_chooser import MODEL_SUFFIXES


class FileDrop(QObject):
    """Watches a window for drags of local files.

    Args:
        window: Takes the drops.
        welcome: True while a file may be dropped.
    """

    dragging = Signal(bool)
    """A file is held over the window, or no longer."""
    dropped = Signal(str)
    """The path of the file dropped; of several the first that has a model's suffix, else the first."""

    def __init__(self, window: QWidget, welcome: Callable[[], bool]) -> None:
        super().__init__(window)
        self._welcome = welcome
        window.setAcceptDrops(True)
        window.installEventFilter(self)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.DragLeave:
            self.dragging.emit(False)
        elif isinstance(event, QDragEnterEvent):
            if self._welcome() and _local_files(event):
                event.acceptProposedAction()
                self.dragging.emit(True)
                return True
        elif isinstance(event, QDropEvent) and event.type() == QEvent.Type.Drop:
            self.dragging.emit(False)
            files = _local_files(event)
            if files and self._welcome():
                event.acceptProposedAction()
                self.dropped.emit(_model(files))
                return True
        return super().eventFilter(watched, event)


def _local_files(event: QDropEvent) -> list[str]:
    return [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]


def _model(files: list[str]) -> str:
    """A model comes with other files, such as the weights of an ONNX graph."""
    return next((file for file in files if Path(file).suffix.lower() in MODEL_SUFFIXES), files[0])

"""Files that are dropped anywhere on the window."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QEvent, QObject, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QWidget


class FileDrop(QObject):
    """Watches a window for drags of local files.

    Args:
        window: Takes the drops.
        welcome: True while a file may be dropped.
    """

    dragging = Signal(bool)
    """A file is held over the window, or no longer."""
    dropped = Signal(str)
    """The path of the first file dropped."""

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
                self.dropped.emit(files[0])
                return True
        return super().eventFilter(watched, event)


def _local_files(event: QDropEvent) -> list[str]:
    return [url.toLocalFile() for url in event.mimeData().urls() if url.isLocalFile()]

"""A layout that puts widgets side by side and breaks the line where the room ends."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem


class FlowLayout(QLayout):
    """Like words of a paragraph."""

    def __init__(self, spacing_px: int = 6) -> None:
        super().__init__()
        self._items: list[QLayoutItem] = []
        self.setSpacing(spacing_px)
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        heights = [height for height, _ in self._lines(width)]
        return sum(heights) + self.spacing() * max(0, len(heights) - 1)

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        y = rect.y()
        for height, line in self._lines(rect.width()):
            x = rect.x()
            for item, size in line:
                item.setGeometry(QRect(QPoint(x, y + (height - size.height()) // 2), size))
                x += size.width() + self.spacing()
            y += height + self.spacing()

    def sizeHint(self) -> QSize:
        return self.minimumSize()

    def minimumSize(self) -> QSize:
        size = QSize()
        for item in self._items:
            size = size.expandedTo(item.minimumSize())
        return size

    def _lines(self, width: int) -> list[tuple[int, list[tuple[QLayoutItem, QSize]]]]:
        """The height of each line, and its items with their sizes; none is wider than the line."""
        lines: list[tuple[int, list[tuple[QLayoutItem, QSize]]]] = []
        x = 0
        for item in self._items:
            size = item.sizeHint()
            size.setWidth(min(size.width(), width))
            if not lines or x + size.width() > width:
                lines.append((0, []))
                x = 0
            height, line = lines[-1]
            lines[-1] = (max(height, size.height()), [*line, (item, size)])
            x += size.width() + self.spacing()
        return lines

"""What the image source draws now."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QRect, QSize, Qt
from PySide6.QtGui import QColor, QHelpEvent, QImage, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QStackedLayout, QToolTip, QVBoxLayout, QWidget

from abd_app.events import ImagesDrawn
from abd_app.gui.look import icons
from abd_app.gui.look.labels import plain_label
from abd_app.gui.look.theme import Theme
from abd_app.gui.look.wording import count, tooltip
from abd_app.text import visible

_GAP_PX = 10
_MIN_SIDE_PX, _MAX_SIDE_PX = 40, 128


class ImageGrid(QWidget):
    """Paints images in rows; a suspicious one has a frame and a warning sign."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self._theme = theme
        self._images: list[QImage] = []
        self._event: ImagesDrawn | None = None
        self.class_names: tuple[str, ...] = ()
        theme.changed.connect(self.update)

    def show_images(self, event: ImagesDrawn) -> None:
        """Replaces the images."""
        self._event = event
        self._images = [_qimage(image) for image in event.images]
        suspicious = self.tr("{n} images, {s} suspicious").format(n=len(self._images), s=sum(event.suspicious))
        self.setAccessibleName(suspicious)
        self.update()

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 120)

    def cells(self) -> list[QRect]:
        """Where each image goes: as large as all of them fit, within limits."""
        number = len(self._images)
        if not number:
            return []
        width, height = self.width(), self.height()
        for side in range(_MAX_SIDE_PX, _MIN_SIDE_PX - 1, -4):
            columns = max(1, (width + _GAP_PX) // (side + _GAP_PX))
            if -(-number // columns) * (side + _GAP_PX) <= height + _GAP_PX:
                break
        shown = min(number, columns * max(1, (height + _GAP_PX) // (side + _GAP_PX)))
        step = side + _GAP_PX
        return [QRect(index % columns * step, index // columns * step, side, side) for index in range(shown)]

    def paintEvent(self, event: QPaintEvent) -> None:
        if self._event is None:
            return
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colours = self._theme.colours
        sign = icons.pixmap("warning", "on_accent", 14)
        for index, cell in enumerate(self.cells()):
            painter.drawImage(cell, self._images[index])
            if index < len(self._event.suspicious) and self._event.suspicious[index]:
                painter.setPen(QPen(QColor(colours.danger), 3))
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.drawRect(cell)
                corner = QRect(cell.right() - 17, cell.top() - 1, 19, 19)
                painter.fillRect(corner, QColor(colours.danger))
                painter.drawPixmap(corner.left() + 2, corner.top() + 2, sign)
        painter.end()

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            hit = [index for index, cell in enumerate(self.cells()) if cell.contains(event.pos())]
            QToolTip.showText(event.globalPos(), tooltip(self._describe(hit[0])) if hit else "", self)
            return True
        return super().event(event)

    def _describe(self, index: int) -> str:
        if self._event is None or index >= len(self._event.labels):
            return ""
        label = self._event.labels[index]
        name = self.class_names[label] if label < len(self.class_names) else ""
        text = self.tr("The teacher says: class {label} {name}").format(label=label, name=visible(name)).strip()
        return text + (self.tr("\nSuspicious: shuffled copies of it agree") if self._event.suspicious[index] else "")


class ImagesView(QWidget):
    """The grid with a line about it; redrawn by :meth:`refresh`."""

    def __init__(self, theme: Theme) -> None:
        super().__init__()
        self.grid = ImageGrid(theme)
        self._waiting: ImagesDrawn | None = None
        self._caption = plain_label(role="muted", wrap=True)
        self._empty = plain_label(self.tr("The images that the student learns from appear here."), "muted")
        self._empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        shown = QWidget()
        layout = QVBoxLayout(shown)
        layout.setContentsMargins(14, 12, 14, 12)
        layout.setSpacing(12)
        layout.addWidget(self._caption)
        layout.addWidget(self.grid, 1)
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(shown)

    def clear(self) -> None:
        """A new run begins."""
        self._waiting = None
        self._stack.setCurrentIndex(0)

    def take(self, event: ImagesDrawn) -> None:
        """Remembers the newest images."""
        self._waiting = event

    def refresh(self) -> None:
        """Draws the newest images, if there are new ones."""
        event, self._waiting = self._waiting, None
        if event is None:
            return
        self.grid.show_images(event)
        self._caption.setText(
            self.tr("Step {step}: {n} synthetic images; {s} look suspicious (framed).").format(
                step=count(event.step), n=len(event.labels), s=sum(event.suspicious)
            )
        )
        self._stack.setCurrentIndex(1)


def _qimage(pixels: object) -> QImage:
    """One (H, W, C) uint8 image; grey or RGB."""
    import numpy as np

    image = np.ascontiguousarray(pixels, dtype=np.uint8)
    height, width, channels = image.shape
    kind = QImage.Format.Format_RGB888 if channels == 3 else QImage.Format.Format_Grayscale8
    return QImage(image.tobytes(), width, height, width * channels, kind).copy()

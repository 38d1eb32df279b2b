"""Icons by meaning, in the colours of the theme."""

from __future__ import annotations

import weakref
from typing import Any

import qtawesome
from PySide6.QtCore import QSize
from PySide6.QtGui import QAction, QIcon, QPixmap
from PySide6.QtWidgets import QAbstractButton, QLabel

_NAMES = {
    "open": "mdi6.folder-open-outline",
    "model": "mdi6.cube-outline",
    "drop": "mdi6.tray-arrow-down",
    "distill": "mdi6.shield-check-outline",
    "export": "mdi6.export-variant",
    "report": "mdi6.file-document-outline",
    "folder": "mdi6.folder-outline",
    "pause": "mdi6.pause",
    "resume": "mdi6.play",
    "stop": "mdi6.stop-circle-outline",
    "cancel": "mdi6.close-circle-outline",
    "close": "mdi6.close",
    "copy": "mdi6.content-copy",
    "add": "mdi6.plus",
    "remove": "mdi6.close",
    "images": "mdi6.image-multiple-outline",
    "curves": "mdi6.chart-line",
    "losses": "mdi6.chart-bell-curve-cumulative",
    "log": "mdi6.text-box-outline",
    "info": "mdi6.information-outline",
    "warning": "mdi6.alert-outline",
    "danger": "mdi6.alert-octagon-outline",
    "good": "mdi6.check-circle-outline",
    "question": "mdi6.help-circle-outline",
    "settings": "mdi6.cog-outline",
    "command": "mdi6.console-line",
    "chevron-right": "mdi6.chevron-right",
    "chevron-down": "mdi6.chevron-down",
    "options": "mdi6.tune-variant",
    "save": "mdi6.content-save-outline",
    "swap": "mdi6.file-replace-outline",
    "demo": "mdi6.flask-outline",
    "history": "mdi6.history",
    "compare": "mdi6.compare-horizontal",
    "again": "mdi6.repeat",
    "trash": "mdi6.trash-can-outline",
}
_colours: dict[str, str] = {}
_bearers: weakref.WeakKeyDictionary[Any, tuple[str, str, int]] = weakref.WeakKeyDictionary()


def put(bearer: QAbstractButton | QAction | QLabel, meaning: str, colour: str = "text", size_px: int = 18) -> None:
    """Gives a button, an action or a label its icon and keeps it in the colour named ``colour`` of the theme."""
    _bearers[bearer] = (meaning, colour, size_px)
    _draw(bearer)


def icon(meaning: str, colour: str = "text", size_px: int = 18) -> QIcon:
    """An icon in the theme's present colour, for places that are drawn anew when the theme changes."""
    plain = _colours.get(colour, "#808080")
    disabled = _colours.get("strong_border", plain)
    drawn = QIcon()
    for mode, shade in ((QIcon.Mode.Normal, plain), (QIcon.Mode.Disabled, disabled)):
        # Drawn once per density: an icon font that is laid out on every paint is slow.
        for density in (1, 2):
            picture = qtawesome.icon(_NAMES[meaning], color=shade).pixmap(QSize(size_px, size_px) * density)
            picture.setDevicePixelRatio(density)
            drawn.addPixmap(picture, mode)
    return drawn


def pixmap(meaning: str, colour: str, size_px: int) -> QPixmap:
    """The same as a picture."""
    return icon(meaning, colour, size_px).pixmap(QSize(size_px, size_px))


def recolour(colours: dict[str, str]) -> None:
    """Redraws every icon that :func:`put` has given, in new colours by name."""
    _colours.update(colours)
    for bearer in list(_bearers):
        try:
            _draw(bearer)
        except RuntimeError:  # Its C++ half is already deleted, the Python half still waits for the collector.
            del _bearers[bearer]


def _draw(bearer: QAbstractButton | QAction | QLabel) -> None:
    meaning, colour, size_px = _bearers[bearer]
    if isinstance(bearer, QLabel):
        bearer.setPixmap(pixmap(meaning, colour, size_px))
        return
    bearer.setIcon(icon(meaning, colour, size_px))
    if isinstance(bearer, QAbstractButton):
        bearer.setIconSize(QSize(size_px, size_px))

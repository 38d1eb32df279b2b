"""Light, dark and system theme: one palette of named colours for Qt, for the style sheet and for the plots."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from string import Template
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QColor, QFont, QGuiApplication, QPalette
from PySide6.QtWidgets import QApplication

from abd_app.assets import asset
from abd_app.gui.look import icons

ThemeName = Literal["system", "light", "dark"]
THEMES: tuple[ThemeName, ...] = ("system", "light", "dark")


@dataclass(frozen=True)
class Colours:
    """The colours of one theme, ``#rrggbb`` each; every text colour reads on its surface (WCAG AA)."""

    window: str
    surface: str
    sunken: str
    border: str
    strong_border: str
    text: str
    muted: str
    accent: str
    accent_hover: str
    accent_soft: str
    on_accent: str
    good: str
    good_soft: str
    warning: str
    warning_soft: str
    danger: str
    danger_soft: str
    teacher: str
    student: str
    twin: str
    shade: str


LIGHT = Colours(
    window="#f3f5f8",
    surface="#ffffff",
    sunken="#f7f9fb",
    border="#dde3ea",
    strong_border="#b9c4d0",
    text="#1a2430",
    muted="#566374",
    accent="#1f66b1",
    accent_hover="#17548f",
    accent_soft="#e4eefa",
    on_accent="#ffffff",
    good="#1e7a4d",
    good_soft="#e3f4ea",
    warning="#8f5a00",
    warning_soft="#fdf1d9",
    danger="#b3261e",
    danger_soft="#fce8e6",
    teacher="#5c6a7a",
    student="#1f66b1",
    twin="#c2570c",
    shade="#5a7ba0",
)
DARK = Colours(
    window="#12161c",
    surface="#1a2028",
    sunken="#151a21",
    border="#2b343f",
    strong_border="#46525f",
    text="#e7ecf2",
    muted="#9ba8b6",
    accent="#5aa2ec",
    accent_hover="#7db7f2",
    accent_soft="#1b3149",
    on_accent="#0b1622",
    good="#62c491",
    good_soft="#163327",
    warning="#e3b15a",
    warning_soft="#382b12",
    danger="#f2857d",
    danger_soft="#3f1f1d",
    teacher="#a3b0be",
    student="#5aa2ec",
    twin="#f0954f",
    shade="#7f9cc0",
)
TRIGGER_COLOURS = ("#2f8f5b", "#9b4fc4", "#c03a5f", "#8a7a1f", "#3f8f99", "#a0603a", "#6b74d8", "#c77fae")
"""For curves of several triggers; each is visible on both themes and none is the colour of a role."""


_DRAWN = ("check", "chevron", "chevron-up")


class Theme(QObject):
    """The theme of the application; follows the system's while it is ``system``."""

    changed = Signal()

    def __init__(self, app: QApplication, name: ThemeName = "system", scale: float = 1.0) -> None:
        super().__init__(app)
        self._app = app
        self._name: ThemeName = name
        self._scale = scale
        self._base_points = max(9.0, QApplication.font().pointSizeF())
        QApplication.setStyle("Fusion")
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._on_system_scheme_changed)
        self._apply()

    @property
    def name(self) -> ThemeName:
        """``system``, ``light`` or ``dark``, as chosen."""
        return self._name

    @property
    def scale(self) -> float:
        """Size of the text relative to the system's."""
        return self._scale

    @property
    def dark(self) -> bool:
        """True if the dark colours are in use."""
        return self._name == "dark" or (
            self._name == "system" and QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark
        )

    @property
    def colours(self) -> Colours:
        """The colours in use."""
        return DARK if self.dark else LIGHT

    def choose(self, name: ThemeName | None = None, scale: float | None = None) -> None:
        """Changes theme or text size; what is ``None`` stays."""
        self._name = name or self._name
        self._scale = scale or self._scale
        self._apply()

    def _on_system_scheme_changed(self) -> None:
        if self._name == "system":
            self._apply()

    def _apply(self) -> None:
        schemes = {"light": Qt.ColorScheme.Light, "dark": Qt.ColorScheme.Dark, "system": Qt.ColorScheme.Unknown}
        QGuiApplication.styleHints().setColorScheme(schemes[self._name])
        font = QFont(QApplication.font())
        font.setPointSizeF(self._base_points * self._scale)
        QApplication.setFont(font)
        QApplication.setPalette(_palette(self.colours))
        icons.recolour(dataclasses.asdict(self.colours))
        self._app.setStyleSheet(_style_sheet(self.colours, self._base_points * self._scale))
        self.changed.emit()


def _style_sheet(colours: Colours, points: float) -> str:
    kind = "dark" if colours is DARK else "light"
    template = Template(asset("style/app.qss").read_text(encoding="utf-8"))
    return template.substitute(
        dataclasses.asdict(colours),
        points=f"{points:.1f}",
        small_points=f"{points * 0.9:.1f}",
        large_points=f"{points * 1.15:.1f}",
        title_points=f"{points * 1.6:.1f}",
        **{name.replace("-", "_"): asset(f"style/{name}-{kind}.svg").as_posix() for name in _DRAWN},
    )


def _palette(colours: Colours) -> QPalette:
    roles = {
        QPalette.ColorRole.Window: colours.window,
        QPalette.ColorRole.WindowText: colours.text,
        QPalette.ColorRole.Base: colours.surface,
        QPalette.ColorRole.AlternateBase: colours.sunken,
        QPalette.ColorRole.Text: colours.text,
        QPalette.ColorRole.PlaceholderText: colours.muted,
        QPalette.ColorRole.Button: colours.surface,
        QPalette.ColorRole.ButtonText: colours.text,
        QPalette.ColorRole.BrightText: colours.danger,
        QPalette.ColorRole.ToolTipBase: colours.surface,
        QPalette.ColorRole.ToolTipText: colours.text,
        QPalette.ColorRole.Highlight: colours.accent,
        QPalette.ColorRole.HighlightedText: colours.on_accent,
        QPalette.ColorRole.Link: colours.accent,
        QPalette.ColorRole.Mid: colours.border,
        QPalette.ColorRole.Light: colours.surface,
        QPalette.ColorRole.Dark: colours.strong_border,
    }
    palette = QPalette()
    for role, colour in roles.items():
        palette.setColor(role, QColor(colour))
    disabled = QColor(colours.muted)
    disabled.setAlpha(140)
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText, QPalette.ColorRole.WindowText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, disabled)
    return palette

"""What the window remembers between starts."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings

from abd_app.gui.folders import default_runs_folder
from abd_app.gui.look.theme import THEMES, ThemeName

_RECENT_FILES = 8
FONT_SCALES = (0.9, 1.0, 1.15, 1.3, 1.5)


class Settings:
    """Typed access to the settings file; a value that makes no sense reads as the default.

    Args:
        path: The settings file; it and its folder are made when something is stored.
    """

    def __init__(self, path: Path) -> None:
        self._store = QSettings(str(path), QSettings.Format.IniFormat)

    @property
    def theme(self) -> ThemeName:
        """``system``, ``light`` or ``dark``."""
        value = str(self._store.value("theme", "system"))
        return value if value in THEMES else "system"

    @theme.setter
    def theme(self, name: ThemeName) -> None:
        self._store.setValue("theme", name)

    @property
    def font_scale(self) -> float:
        """Size of the text relative to the system's, one of ``FONT_SCALES``."""
        try:
            value = float(str(self._store.value("font_scale", 1.0)))
        except ValueError:
            return 1.0
        return value if value in FONT_SCALES else 1.0

    @font_scale.setter
    def font_scale(self, scale: float) -> None:
        self._store.setValue("font_scale", scale)

    @property
    def runs_folder(self) -> Path:
        """The folder that holds one folder per run."""
        value = str(self._store.value("runs_folder", ""))
        return Path(value) if value else default_runs_folder()

    @runs_folder.setter
    def runs_folder(self, folder: Path) -> None:
        self._store.setValue("runs_folder", str(folder))

    @property
    def recent_files(self) -> list[str]:
        """Teacher files opened before, newest first."""
        return [str(self._store.value(f"recent/{number}", "")) for number in range(self._recent_count())]

    def add_recent_file(self, path: str) -> None:
        """Puts a file at the head of the list."""
        files = [path, *(other for other in self.recent_files if other != path)][:_RECENT_FILES]
        self.clear_recent_files()
        for number, file in enumerate(files):
            self._store.setValue(f"recent/{number}", file)

    def clear_recent_files(self) -> None:
        """Forgets the list."""
        self._store.remove("recent")

    def geometry(self, part: str) -> QByteArray | None:
        """What :meth:`set_geometry` stored for ``part``."""
        value = self._store.value(f"geometry/{part}")
        return value if isinstance(value, QByteArray) else None

    def set_geometry(self, part: str, value: QByteArray) -> None:
        """Stores the geometry of the window or the state of a splitter."""
        self._store.setValue(f"geometry/{part}", value)

    def _recent_count(self) -> int:
        self._store.beginGroup("recent")
        names = self._store.childKeys()
        self._store.endGroup()
        return len(names)

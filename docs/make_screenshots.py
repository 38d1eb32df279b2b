"""Renders every state of the window from the real widgets, without a display and without an engine.

The events are invented here (a made-up run of a made-up teacher), so that the pictures come out the same on every
machine in seconds; no number in them is a result of this project. Run it as ``make screenshots``.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtWidgets import QApplication
from window_states import STATES, Stage

from abd_app.events import AuditFailed
from abd_app.gui.dialogs import HelpDialog, SettingsDialog
from abd_app.gui.file_chooser import FileChooser
from abd_app.gui.theme import Theme, ThemeName

README_SIZE = "1280x800"
SIZES = {"1024x700": (1024, 700), README_SIZE: (1280, 800), "1920x1080": (1920, 1080)}
README_PICTURES: dict[str, ThemeName] = {"ready": "light", "running-distilling": "dark", "finished": "light"}


def render(theme: Theme, name: str, size: str, out: Path) -> None:
    """Draws one state into one picture."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(theme, SIZES[size], Path(folder))
        try:
            STATES[name](stage)
            for _ in range(5):
                QApplication.processEvents()
            stage.window.live.curves.refresh()
            stage.window.run_bar.refresh()
            QApplication.processEvents()
            stage.window.grab().save(str(out / picture_name(name, theme, size)))
        finally:
            stage.engine.play(AuditFailed("", "", "", "", 4))
            stage.window.close()
            stage.window.deleteLater()
            QApplication.processEvents()


def render_dialogs(theme: Theme, out: Path) -> None:
    """Draws settings and help."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(theme, SIZES["1024x700"], Path(folder))
        for name, dialog in (
            ("settings", SettingsDialog(stage.settings, stage.theme, FileChooser(), stage.window)),
            ("help", HelpDialog(Path("~/.local/state/abd-app/log/abd-app.log"), stage.window)),
        ):
            dialog.show()
            QApplication.processEvents()
            dialog.grab().save(str(out / f"{name}-{theme.name}.png"))
            dialog.close()
        stage.window.close()
        stage.window.deleteLater()


def picture_name(name: str, theme: Theme, size: str) -> str:
    """The file name of a picture."""
    return f"{name}-{theme.name}-{size}" + (f"-{theme.scale:.0%}" if theme.scale != 1.0 else "") + ".png"


def main(arguments: list[str]) -> int:
    """Renders the pictures of the README, or with ``--all`` every state in every theme, size and text size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "screenshots")
    parser.add_argument("--all", action="store_true", help="every state, theme, size and text size")
    parser.add_argument("--only", default="", help="only states whose name contains this")
    parser.add_argument("--theme", default="", choices=("", "light", "dark"))
    parser.add_argument("--size", default="", choices=("", *SIZES))
    parser.add_argument("--scale", type=float, default=0.0)
    chosen = parser.parse_args(arguments)
    chosen.out.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.CRITICAL)  # The made-up failures are not the reader's.
    app = QApplication([])
    theme = Theme(app, "light")
    if not chosen.all:
        for name, colours in README_PICTURES.items():
            theme.choose(colours)
            render(theme, name, README_SIZE, chosen.out)
        return 0
    themes: tuple[ThemeName, ...] = ("light", "dark")
    for scale in (1.0, 1.5):
        for colours in themes:
            theme.choose(colours, scale)
            for name in STATES:
                for size in ("1024x700", "1920x1080"):
                    wanted = chosen.only in name and chosen.theme in colours and chosen.size in size
                    if wanted and chosen.scale in (0.0, scale):
                        render(theme, name, size, chosen.out)
            if chosen.only in ("", "dialogs") and scale == 1.0:
                render_dialogs(theme, chosen.out)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Renders the window from the real widgets, without a display and without an engine: run it as ``make screenshots``.

The pictures of README.md show the built-in demo as ``make record-demo`` recorded it. With ``--all``, every state of the
window is rendered from a made-up run of a made-up teacher, for the eyes of developers; no number in those pictures is a
result of this project.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from demo_states import DEMO_STATES
from made_up_run import PAST_RUNS, made_up_comparison
from PySide6.QtWidgets import QApplication
from recorded_run import RECORDING, Recording, read_recording
from stage import Stage
from window_states import STATES

from abd_app.events import AuditFailed
from abd_app.gui.dialogs import HelpDialog, SettingsDialog
from abd_app.gui.file_chooser import FileChooser
from abd_app.gui.look.theme import Theme, ThemeName
from abd_app.gui.results.compare_dialog import CompareDialog
from abd_app.gui.results.history_dialog import HistoryDialog

README_SIZE = "1280x800"
SIZES = {"1024x700": (1024, 700), README_SIZE: (1280, 800), "1920x1080": (1920, 1080)}
DOCS = Path(__file__).parent
README_PICTURES: dict[str, ThemeName] = {"ready": "light", "running-twin": "dark", "finished": "light"}


def render(theme: Theme, name: str, size: str, out: Path, recording: Recording | None = None) -> None:
    """Draws one state into one picture: of the recording, or of the made-up run if there is none."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(theme, SIZES[size], Path(folder), recording.demo_plan if recording else None)
        try:
            if recording is not None:
                DEMO_STATES[name](stage, recording)
            else:
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
    """Draws settings, help, history and the comparison of two runs."""
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(theme, SIZES["1024x700"], Path(folder))
        for name, dialog in (
            ("settings", SettingsDialog(stage.settings, stage.theme, FileChooser(), stage.window)),
            ("help", HelpDialog(Path("~/.local/state/abd-app/log/abd-app.log"), stage.window)),
            ("history", HistoryDialog(lambda: PAST_RUNS[0].folder, stage.window, lambda: PAST_RUNS)),
            ("compare", CompareDialog(made_up_comparison(), stage.theme, stage.window)),
            ("history-empty", HistoryDialog(lambda: "", stage.window, list)),
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


def render_made_up(theme: Theme, chosen: argparse.Namespace, out: Path) -> None:
    """Draws the states that were asked for in every theme, size and text size."""
    themes: tuple[ThemeName, ...] = ("light", "dark")
    for scale in (1.0, 1.5):
        for colours in themes:
            theme.choose(colours, scale)
            for name in STATES:
                for size in SIZES:
                    wanted = chosen.only in name and chosen.theme in colours and chosen.size in size
                    if wanted and chosen.scale in (0.0, scale):
                        render(theme, name, size, out)
            if chosen.only in ("", "dialogs") and scale == 1.0:
                render_dialogs(theme, out)


def main(arguments: list[str]) -> int:
    """Renders the pictures of the README, or with ``--all`` every state in every theme, size and text size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="docs/screenshots, with --all build/made-up-states")
    parser.add_argument("--recording", type=Path, default=RECORDING)
    parser.add_argument("--all", action="store_true", help="every state of a made-up run, theme, size and text size")
    parser.add_argument("--only", default="", help="with --all, only states whose name contains this")
    parser.add_argument("--theme", default="", choices=("", "light", "dark"), help="with --all")
    parser.add_argument("--size", default="", choices=("", *SIZES), help="with --all")
    parser.add_argument("--scale", type=float, default=0.0, help="with --all")
    chosen = parser.parse_args(arguments)
    if not chosen.all and not chosen.recording.is_file():
        parser.error(f"{chosen.recording} is missing: make record-demo makes it")
    out = chosen.out or (DOCS.parent / "build" / "made-up-states" if chosen.all else DOCS / "screenshots")
    out.mkdir(parents=True, exist_ok=True)
    logging.disable(logging.CRITICAL)  # The made-up failures are not the reader's.
    app = QApplication([])
    theme = Theme(app, "light")
    if chosen.all:
        render_made_up(theme, chosen, out)
        return 0
    recording = read_recording(chosen.recording)
    for name, colours in README_PICTURES.items():
        theme.choose(colours)
        render(theme, name, README_SIZE, out, recording)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

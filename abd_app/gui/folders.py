"""Where the window keeps runs, settings and its log."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from datetime import datetime
from pathlib import Path, PurePath

import platformdirs
from PySide6.QtCore import QFile

from abd_app.events import AuditFailed
from abd_app.history import data_folder
from abd_app.run_files import CHECKPOINT, PLAN

_APP = "abd-app"


def default_runs_folder() -> Path:
    """The folder that holds one folder per run, unless the user has chosen another."""
    return data_folder() / "runs"


def settings_file() -> Path:
    """The file of the window's settings."""
    return Path(platformdirs.user_config_dir(_APP, appauthor=False)) / "window.ini"


def log_file() -> Path:
    """The newest log file."""
    return Path(platformdirs.user_log_dir(_APP, appauthor=False)) / "abd-app.log"


def new_run_folder(runs: Path, teacher_file: str, now: datetime) -> Path:
    """A folder below ``runs`` that does not exist yet: time, then the teacher's name."""
    name = re.sub(r"[^\w.-]+", "_", PurePath(teacher_file).stem)[:60].strip("._") or "teacher"
    folder = runs / f"{now:%Y-%m-%d_%H-%M-%S}-{name}"
    number = 2
    while os.path.lexists(folder):
        folder = folder.with_name(f"{now:%Y-%m-%d_%H-%M-%S}-{name}-{number}")
        number += 1
    return folder


def to_trash(folder: str) -> bool:
    """Whether the system's trash has taken a folder."""
    return bool(QFile(folder).moveToTrash())


def discard_run(folder: str) -> AuditFailed | None:
    """Takes away what a run has left that its user discards: what it has learned goes to the system's trash.

    Returns:
        Why it stays, where there is no trash for it.
    """
    run = Path(folder)
    if (run / CHECKPOINT).exists():
        what, why = "The run could not be moved to the trash.", "The system has none for this disk."
        kept = AuditFailed(what, folder, why, "It is in the history; delete its folder by hand.", 4)
        return None if to_trash(folder) else kept
    with contextlib.suppress(OSError):  # what is not the run's stays
        shutil.rmtree((run / CHECKPOINT).parent, ignore_errors=True)
        (run / PLAN).unlink(missing_ok=True)
        run.rmdir()
    return None

"""The files of a run by their names, who is writing them now, and whether what they vouch for is still so."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path
from typing import Any

from abd_app.whole_file import parts_left

PLAN, METRICS, REPORT, CHECKPOINT = "plan.json", "metrics.csv", "report.json", "checkpoint/state.pt"
LOCK = "checkpoint/.lock"
"""Held by the process that writes into the folder, for as long as it lives."""


class HeldElsewhereError(Exception):
    """Another process holds the lock of a folder."""


class RunLock:
    """The lock of a run's folder, which the system takes back when its process ends, however it ends.

    Args:
        folder: Of the run; the lock is a file below it.
    """

    def __init__(self, folder: Path) -> None:
        from filelock import FileLock

        self._lock = FileLock(folder / LOCK, blocking=False)

    def acquire(self) -> None:
        """Takes it.

        Raises:
            HeldElsewhereError: Another process has it.
            OSError: It cannot be written.
        """
        from filelock import Timeout

        try:
            self._lock.acquire()
        except Timeout as error:
            raise HeldElsewhereError from error

    def release(self) -> None:
        """Gives it back, and removes its file."""
        if self._lock.is_locked:
            with contextlib.suppress(OSError):  # Windows removes no open file
                Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release()


def is_running(folder: Path) -> bool:
    """Whether a process is writing into a run's folder now."""
    if not (folder / LOCK).exists():
        return False
    lock = RunLock(folder)
    try:
        lock.acquire()
    except HeldElsewhereError:
        return True
    except OSError:
        return False
    lock.release()
    return False


def left_before_plan(folder: Path) -> list[Path]:
    """What lies in a folder because a run was killed there before its plan was written, or is about to write it.

    These are parts of a plan, and a folder of checkpoints with no more in it than the lock, which alone tells whether
    that run lives.
    """
    if not folder.is_dir():
        return []
    checkpoints = (folder / CHECKPOINT).parent
    bare = checkpoints.is_dir() and all(one == folder / LOCK for one in checkpoints.iterdir())
    return [*parts_left(folder / PLAN), *([checkpoints] if bare else [])]


def clear_unsaved(folder: Path) -> None:
    """Removes the plan of a run that has ended without a checkpoint, unless something else is there by now.

    The folder itself stays, empty.
    """
    checkpoints = (folder / CHECKPOINT).parent
    with contextlib.suppress(OSError):  # what somebody else has put there, or taken away, is not the run's
        if not is_running(folder) and all(one.name in (PLAN, checkpoints.name) for one in folder.iterdir()):
            checkpoints.rmdir()
            (folder / PLAN).unlink()


def json_object(path: Path) -> dict[str, Any] | None:
    """The content of a JSON file that holds an object; ``None`` if it does not, or cannot be read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def finished_report(folder: Path) -> dict[str, Any] | None:
    """The report of a run that is finished: it is the last file that a run writes."""
    report = json_object(folder / REPORT)
    whole = report is not None and all(
        isinstance(report.get(key), kind) for key, kind in (("summary", str), ("teacher", dict), ("student", dict))
    )
    return report if whole else None


def changed_file(teacher_file: str, teacher: dict[str, Any]) -> Path | None:
    """The first of a teacher's files that no longer holds what ``report["teacher"]`` vouches for."""
    file = Path(teacher_file)
    vouched = [(file, teacher.get("sha256"))]
    vouched += [(file.with_name(one["file"]), one["sha256"]) for one in teacher.get("data_files", ())]
    return next((path for path, sha256 in vouched if file_sha256(path) != sha256), None)


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a plain file, hexadecimal; empty if it cannot be read. Nothing in it is interpreted."""
    try:
        if not Path(path).is_file():  # reading a pipe or a device might never end
            return ""
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""

"""The history: where runs have written, and what each has left there."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path, PurePath
from typing import Any, Literal, TypeGuard

from abd_app.run_files import PLAN, finished_report, is_running, json_object

State = Literal["finished", "running", "unfinished"]

_APP = "abd-app"


@dataclass(frozen=True)
class PastRun:
    """A run whose folder is still there.

    Attributes:
        folder: Where it has written.
        started: When, ISO 8601 with time zone.
        state: ``unfinished``: it can go on.
        plan: The content of ``plan.json``.
        result: The content of ``report.json``; ``None`` unless finished.
    """

    folder: str
    started: str
    state: State
    plan: dict[str, Any]
    result: dict[str, Any] | None

    @property
    def teacher(self) -> str:
        """The name of the teacher's file."""
        return PurePath(str(self.plan.get("teacher_file", "?"))).name

    @property
    def accuracy(self) -> float | None:
        """The student's, in [0, 1]: its agreement with the teacher where :attr:`estimated`; ``None``: not known."""
        accuracy = self._student.get("accuracy")
        return accuracy if _is_rate(accuracy) else None

    @property
    def worst_asr(self) -> tuple[str, float] | None:
        """The trigger that fools the student most, and its attack success rate in [0, 1]."""
        rates = self._student.get("asr")
        known = {name: rate for name, rate in rates.items() if _is_rate(rate)} if isinstance(rates, dict) else {}
        return max(known.items(), key=lambda pair: pair[1], default=None)

    @property
    def caution(self) -> str:
        """What the result asks for: ``danger``, ``warning`` or ``info``; "" where there is none."""
        return str(self.result.get("caution", "info")) if self.result else ""

    @property
    def estimated(self) -> bool:
        """Whether no labelled images were given."""
        return bool(self.result and self.result.get("estimated"))

    @property
    def _student(self) -> dict[str, Any]:
        """Of the report; empty in a file that is no report of this app."""
        student = self.result.get("student") if self.result else None
        return student if isinstance(student, dict) else {}


def _is_rate(value: Any) -> TypeGuard[float]:
    """What is not finite, or was not measured, is ``None`` in a report."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def data_folder() -> Path:
    """Where the app keeps the history, and the window its runs unless another folder is chosen."""
    import platformdirs

    return Path(platformdirs.user_data_dir(_APP, appauthor=False))


def remember(folder: str | Path) -> None:
    """Adds the folder of a run; a history that cannot be written is no reason to end a run."""
    with contextlib.suppress(OSError, ImportError):  # of a bare checkout platformdirs may be missing
        path = _history_file()
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(str(Path(folder).absolute())) + "\n")


def past_runs() -> list[PastRun]:
    """The runs that were remembered and whose folders are still there, newest first."""
    found = (_run_in(Path(folder)) for folder in dict.fromkeys(_remembered()))
    return sorted((run for run in found if run is not None), key=lambda run: run.started, reverse=True)


def _history_file() -> Path:
    return data_folder() / "history.jsonl"


def _remembered() -> Iterator[str]:
    try:
        lines = _history_file().read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, ImportError):
        return
    for line in lines:
        with contextlib.suppress(ValueError):  # a line that was cut off
            folder = json.loads(line)
            if isinstance(folder, str):
                yield folder


def _run_in(folder: Path) -> PastRun | None:
    plan, result = json_object(folder / PLAN), finished_report(folder)
    if plan is None:
        return None
    try:
        started = datetime.fromtimestamp((folder / PLAN).stat().st_mtime).astimezone().isoformat(timespec="seconds")
    except OSError:  # it has gone this moment
        return None
    state: State = "finished" if result is not None else "running" if is_running(folder) else "unfinished"
    return PastRun(str(folder), started, state, plan, result)

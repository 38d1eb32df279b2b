"""The plan while the user is still making it."""

from __future__ import annotations

import dataclasses
from datetime import datetime
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from abd_app.errors import UsageError
from abd_app.gui.folders import new_run_folder
from abd_app.plan import AuditPlan, TeacherFacts

_INSPECTED = ("method", "defense", "student", "device", "precision", "data")


class Draft(QObject):
    """Every choice of an :class:`AuditPlan`, editable; views write single choices and read them back."""

    changed = Signal()
    """The user has changed a choice."""
    replaced = Signal()
    """All choices are new: views show them afresh."""

    def __init__(self, runs: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.runs = runs
        self._values = _defaults()

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def choose(self, **choices: Any) -> None:
        """Sets choices by the names of :class:`AuditPlan`; in another folder no run goes on."""
        if choices.get("out", self._values["out"]) != self._values["out"]:
            choices = {"resume": False, **choices}
        unknown = set(choices) - set(self._values)
        if unknown:
            raise KeyError(f"no such choice: {sorted(unknown)}")
        if any(self._values[name] != value for name, value in choices.items()):
            self._values.update(choices)
            self.changed.emit()

    def replace(self, plan: AuditPlan) -> None:
        """Takes over every choice of a plan."""
        self._values = {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}
        self.replaced.emit()

    def forget_teacher(self) -> None:
        """Another teacher: what only made sense for the last one goes back to its default.

        Images and triggers stay: they may be there before the first teacher, and one test set may serve several.
        """
        fresh = _defaults()
        habits = {"method", "defense", "student", "effort", "device", "precision", "compare", "seed"}
        kept = habits | {"data", "triggers", "target_class"}
        self._values = {name: self._values[name] if name in kept else value for name, value in fresh.items()}
        self.replaced.emit()

    def choices(self) -> AuditPlan:
        """The labelled images, and what the cost of a run depends on; the rest as in any plan, without a teacher.

        Raises:
            UsageError: The choices exclude each other.
        """
        return AuditPlan(teacher_file="", out="", **{name: self._values[name] for name in _INSPECTED})

    def plan(self, file: str, facts: TeacherFacts, *, now: datetime | None = None) -> AuditPlan:
        """The finished plan; without a chosen output folder it gets a fresh one below ``runs``.

        A run that goes on has its folder, with what it has left there.

        Raises:
            UsageError: A choice is out of range, or the chosen folder is already in use or closed to the user.
        """
        out = str(self._values["out"])
        if not out:
            out = str(new_run_folder(self.runs, file, now or datetime.now()))
        elif not self._values["resume"]:
            _check_unused(Path(out))
        return AuditPlan(**{**self._values, "teacher_file": file, "facts": facts, "out": out})


def _check_unused(folder: Path) -> None:
    elsewhere = "Choose another folder under Plan, Advanced."
    try:
        used = folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
    except OSError as error:
        raise UsageError(
            "The output folder cannot be looked into.", where=str(folder), why=f"{error.strerror}.", remedy=elsewhere
        ) from error
    if used:
        raise UsageError(
            "The output folder is not empty.",
            where=str(folder),
            why="A run never writes over what is already there.",
            remedy=elsewhere,
        )


def _defaults() -> dict[str, Any]:
    plan = AuditPlan(teacher_file="", out="")
    return {field.name: getattr(plan, field.name) for field in dataclasses.fields(plan)}

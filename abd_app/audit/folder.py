"""The folder of one run: plan, checkpoint and results."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from abd_app.errors import RunFailedError, TeacherRefusedError, UsageError
from abd_app.export.files import check_new_folder, saved_whole, write_text
from abd_app.intake import load_weights_only
from abd_app.plan import AuditPlan
from abd_app.plan_paths import with_absolute_paths
from abd_app.run_files import (
    CHECKPOINT,
    PLAN,
    HeldElsewhereError,
    RunLock,
    changed_file,
    clear_unsaved,
    finished_report,
    left_before_plan,
)
from abd_app.whole_file import parts_left


class RunFolder:
    """Where a run writes; a context that an unfinished run leaves without a trace if it has written nothing of worth.

    Nothing is written before :meth:`begin`, so that a refused run leaves no folder in the way of the next try.

    Args:
        plan: Names the folder and says whether the run in it goes on.
        keeps: Whether an unfinished run shall be kept without a checkpoint, too.

    Attributes:
        path: The folder.

    Raises:
        UsageError: The folder is in use, or does not hold the run to be continued.
    """

    def __init__(self, plan: AuditPlan, *, keeps: Callable[[], bool] = lambda: False) -> None:
        self._plan, self._keeps = plan, keeps
        self.path = Path(plan.out)
        self._checkpoint = self.path / CHECKPOINT
        self._lock = RunLock(self.path)
        self._made: list[Path] | None = None
        """The folders that :meth:`begin` made, outermost first; ``None``: the plan was not written by it."""
        if plan.resume:
            self._check_same_run(plan)
        else:
            goes_on = ", or continue the run in it with --resume" if (self.path / PLAN).is_file() else ""
            left = left_before_plan(self.path)
            check_new_folder(self.path, f"Give a new folder with --out{goes_on}.", passed_over=left)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        if error is not None and self._made is not None and not self._checkpoint.exists() and not self._keeps():
            self._clear(self._made)

    def _clear(self, made: list[Path]) -> None:
        """Removes what :meth:`begin` has written, unless something else is there by now."""
        clear_unsaved(self.path)
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()

    def finished(self) -> dict[str, Any] | None:
        """The report of a run that is to go on and is finished already, the content of ``report.json``.

        Raises:
            UsageError: It is of another teacher than the one that lies there by now.
        """
        report = finished_report(self.path) if self._plan.resume else None
        if report is None:
            return None
        changed = changed_file(self._plan.teacher_file, report["teacher"])
        if changed is not None:
            raise UsageError(
                "The teacher file has changed since the run was finished.",
                where=str(changed),
                why=f"The report in {self.path} belongs to a file with another SHA-256.",
                remedy="Start a new run in another folder, or put the original file back.",
            )
        return report

    def begin(self) -> None:
        """Creates the folder with the plan in it; a run that goes on has both already.

        Raises:
            RunFailedError: It cannot be written to.
            UsageError: Another process writes there.
        """
        with self.writing():
            if not self._plan.resume:
                self._made = [one for one in (*reversed(self.path.parents), self.path) if not one.exists()]
            self._checkpoint.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except HeldElsewhereError as error:
                self._made = None  # the folder is the other's
                raise UsageError(
                    "The run is still going on.",
                    where=str(self.path),
                    why="Another process is writing into its folder.",
                    remedy="Wait for its end, or end it, and continue it then.",
                ) from error
            if not self._plan.resume:
                self._begin_anew()

    def _begin_anew(self) -> None:
        """Writes the plan, unless another run has begun there since this one looked."""
        if (self.path / PLAN).exists():
            self._made = None
            raise UsageError(
                "The output folder is already in use.",
                where=str(self.path),
                why="Another run has begun there meanwhile.",
                remedy="Give a new folder with --out.",
            )
        for part in parts_left(self.path / PLAN):  # of a run that was killed: this one has the lock
            part.unlink(missing_ok=True)
        write_text(self.path / PLAN, self._plan.to_json())

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replaces the checkpoint, whole or not at all.

        Raises:
            RunFailedError: The disk is full or the folder has gone.
        """
        temporary = self._checkpoint.with_suffix(".tmp")
        with self.writing():
            try:
                with saved_whole("The checkpoint"):
                    torch.save(state, temporary)
                temporary.replace(self._checkpoint)
            finally:
                temporary.unlink(missing_ok=True)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint of a run that goes on, or ``None`` if there is none (yet).

        Raises:
            UsageError: The checkpoint is damaged.
        """
        if not self._plan.resume or not self._checkpoint.exists():
            return None
        try:
            state = load_weights_only(self._checkpoint)
        except TeacherRefusedError as error:
            raise UsageError(
                "The checkpoint of this run cannot be read.",
                where=str(self._checkpoint),
                why=error.why,
                remedy="Delete it to start the run again with --resume, or start a new run in another folder.",
            ) from error
        assert isinstance(state, dict)
        return state

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turns an ``OSError`` inside into a :class:`RunFailedError` that names the folder."""
        try:
            yield
        except OSError as error:
            raise RunFailedError(
                "The results cannot be written.",
                where=str(self.path),
                why=error.strerror or str(error),
                remedy="Free some space or give another folder with --out." + self._resumable(),
            ) from error

    def _resumable(self) -> str:
        return " With --resume the run goes on from its last checkpoint." if self._checkpoint.exists() else ""

    def _check_same_run(self, plan: AuditPlan) -> None:
        stored = self.path / PLAN
        if not stored.is_file():
            ended = bool(left_before_plan(self.path))
            raise UsageError(
                "There is no run to continue.",
                where=str(self.path),
                why=f"It holds no {PLAN}{': a run that began there ended before writing it' if ended else ''}.",
                remedy="Give the folder of an interrupted run, or leave --resume out.",
            )
        try:
            before = AuditPlan.from_json(stored.read_text(encoding="utf-8", errors="replace"))
        except UsageError as error:
            error.where = str(stored)
            raise
        if changes := with_absolute_paths(plan).described_changes(with_absolute_paths(before)):
            raise UsageError(
                "The run was started with other options.",
                where=str(stored),
                why=f"{changes[0].upper()}{changes[1:]}.",
                remedy="Continue it with the same options, or start a new run in another folder.",
            )

"""The folder of a batch, and what earlier runs have left in it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from abd_app.batch.outcome import Outcome, done, failed
from abd_app.batch.tasks import AuditTask, BatchPlan
from abd_app.errors import RunFailedError, UsageError
from abd_app.events import AuditFailed
from abd_app.export.files import check_new_folder, write_text
from abd_app.plan import AuditPlan
from abd_app.plan_paths import is_there, with_absolute_paths
from abd_app.run_files import PLAN, changed_file, clear_unsaved, file_sha256, finished_report

_BATCH = "batch.json"
_NAMED = 5
"""So many missing files and seeds are named; the others are counted."""


class _Begun(NamedTuple):
    """What a batch was when it was run last."""

    files: list[str]
    seeds: list[int]
    options: AuditPlan


class BatchFolder:
    """Where a batch writes. Nothing is written before :meth:`begin`.

    Attributes:
        path: The folder.
        tasks: The audits of the batch.

    Raises:
        UsageError: The folder is in use, or does not hold the batch to be continued, or holds more than is asked for,
            or a file that is new to it is not there.
    """

    def __init__(self, plan: BatchPlan) -> None:
        self.path = Path(plan.out).expanduser().absolute()
        begun = self._begun() if plan.resume else None
        self.tasks = plan.tasks(begun.files if begun else ())
        self._files = list(dict.fromkeys(task.plan.teacher_file for task in self.tasks))
        self._seeds, self._options = plan.seeds, with_absolute_paths(plan.options)
        if begun:
            self._check_same_batch(begun)
            plan.check_files(begun.files)
        else:
            goes_on = ", or continue the batch in it with --resume" if (self.path / _BATCH).is_file() else ""
            check_new_folder(self.path, f"Give a new folder with --out{goes_on}.")

    def begin(self) -> None:
        """Creates the folder and notes what the batch is.

        Raises:
            RunFailedError: It cannot be written to.
        """
        content = {"files": self._files, "seeds": self._seeds, "options": self._options.to_dict()}
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RunFailedError(
                "The output folder cannot be made.",
                where=str(self.path),
                why=error.strerror or str(error),
                remedy="Give another folder with --out.",
            ) from error
        write_text(self.path / _BATCH, json.dumps(content, indent=2) + "\n")

    def _begun(self) -> _Begun:
        try:
            content = json.loads((self.path / _BATCH).read_text(encoding="utf-8"))
            files = list(map(str, content["files"]))
            return _Begun(files, list(content["seeds"]), AuditPlan.from_dict(content["options"]))
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            raise UsageError(
                "There is no batch to continue.",
                where=str(self.path),
                why=f"It holds no {_BATCH} of this app.",
                remedy="Give the folder of an interrupted batch, or leave --resume out.",
            ) from error

    def _check_same_batch(self, begun: _Begun) -> None:
        stored = self.path / _BATCH
        changes = self._options.described_changes(begun.options)
        if changes and any(self.path.glob(f"*/{PLAN}")):  # before, no audit has anything that rests on the options
            raise UsageError(
                "The batch was started with other options.",
                where=str(stored),
                why=f"{changes[0].upper()}{changes[1:]}.",
                remedy="Continue it with the same options (files and seeds may be added), or give another --out.",
            )
        missing = [f"seed {seed}" for seed in begun.seeds if seed not in self._seeds]
        missing += [file for file in begun.files if file not in self._files]
        if missing:
            named = ", ".join(missing[:_NAMED]) + f" and {len(missing) - _NAMED} more" * (len(missing) > _NAMED)
            raise UsageError(
                f"The batch was started with more files or seeds: {named}.",
                where=str(stored),
                why="Its summary would lose their results.",
                remedy="Give them too, also files that are gone (files and seeds may only be added), or give another "
                "--out.",
            )


def earlier_outcome(task: AuditTask) -> Outcome | None:
    """What an earlier run of the batch has finished, or why nothing can be; ``None``: the audit is still to be run."""
    gone = not is_there(task.plan.teacher_file)
    found = _finished(task, gone=gone)
    if found is not None or not gone:
        return found
    return failed(
        task,
        AuditFailed(
            "The teacher file is gone.",
            task.plan.teacher_file,
            "Its audit had not been finished.",
            "Put it back and continue the batch with --resume, or start another one without it.",
            UsageError.exit_code,
        ),
    )


def _finished(task: AuditTask, *, gone: bool) -> Outcome | None:
    """What an earlier run has finished; a teacher that is gone has not changed."""
    report = finished_report(Path(task.plan.out))
    try:
        if report is None or task.plan.changes_since(AuditPlan.from_dict(report["plan"])):
            return None
        outcome = done(task, report)
        changed = None if gone else changed_file(task.plan.teacher_file, report["teacher"])
    except (OSError, ValueError, KeyError, TypeError, UsageError):
        return None
    if changed is None:
        return outcome
    return failed(
        task,
        AuditFailed(
            "The file has changed since it was audited.",
            str(changed),
            f"The report in {task.folder} is of another content.",
            "Move that folder away, or audit the file in another --out.",
            UsageError.exit_code,
        ),
        sha256=file_sha256(task.plan.teacher_file),
    )


def remove_unsaved(tasks: Sequence[AuditTask]) -> None:
    """Removes the folders of audits that ended without a checkpoint: of engines that were ended by force."""
    for task in tasks:
        folder = Path(task.plan.out)
        clear_unsaved(folder)
        with contextlib.suppress(OSError):  # it was never made, or something is in it
            folder.rmdir()


def continued(plan: AuditPlan) -> AuditPlan:
    """The same plan; it goes on if its folder holds a run that was interrupted."""
    return replace(plan, resume=(Path(plan.out) / PLAN).is_file())

"""What a batch is asked to do, and the audits that this means."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from abd_app.errors import UsageError
from abd_app.plan import AuditPlan
from abd_app.plan_paths import absolute, is_there, with_absolute_paths

_STEM_LENGTH = 48
_MARK_LENGTH = 12


@dataclass(frozen=True)
class AuditTask:
    """One audit of a batch.

    Attributes:
        plan: With absolute paths, so that every process and every machine means the same files.
    """

    plan: AuditPlan

    @property
    def folder(self) -> str:
        """Name of the audit's folder below the batch's."""
        return Path(self.plan.out).name


@dataclass(frozen=True)
class BatchPlan:
    """Many audits with the same choices.

    Attributes:
        files: The teachers; one that is named twice is audited once, also where its names are two paths or links.
        seeds: Every file is audited once with each.
        out: Folder of the batch.
        options: The choices for all of them; its file, folder and seed are not used.
        jobs: Audits at a time; ``None``: one per device.
        ray: Address of a Ray cluster; ``None``: this machine.
        resume: Continue the batch in ``out``.
    """

    files: tuple[str, ...]
    seeds: tuple[int, ...]
    out: str
    options: AuditPlan
    jobs: int | None = None
    ray: str | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        if not self.files or not self.seeds:
            raise UsageError(
                "There is nothing to audit.", where="FILES, --seeds", remedy="Give at least one file and one seed."
            )
        for seed in self.seeds:
            if not 0 <= seed < 2**31:
                raise UsageError(
                    f"Seed {seed} is out of range.", where="--seeds", remedy="Give numbers from 0 to 2147483647."
                )
        if self.jobs is not None and self.jobs < 1:
            raise UsageError(
                f"The number of audits at a time cannot be {self.jobs}.", where="--jobs", remedy="Give at least 1."
            )
        if not self.resume:  # else it is its folder that knows which files it has begun with
            self.check_files()
        if self.options.data is not None and not is_there(absolute(self.options.data)):
            raise UsageError("There are no such images.", where=f"--data {self.options.data}", remedy="Check the path.")

    def check_files(self, begun: Sequence[str] = ()) -> None:
        """Sees to it that the teachers are there; those that the batch has ``begun`` with may have gone since.

        Raises:
            UsageError: Some are not.
        """
        known = set(begun)
        named = self._named(begun).items()
        missing = [file for path, file in named if path not in known and not is_there(path)]
        if missing:
            raise UsageError(
                f"{len(missing)} of {len(named)} teacher files do not exist.",
                where=", ".join(missing[:3]) + (", ..." if len(missing) > 3 else ""),
                remedy="Check the paths; nothing has been started." if not self.resume else "Check the paths.",
            )

    def tasks(self, begun: Sequence[str] = ()) -> tuple[AuditTask, ...]:
        """One per file and seed, in the order given.

        Args:
            begun: The files of a batch that goes on, by the paths of its audits; they keep these.
        """
        shared, out = with_absolute_paths(self.options), Path(absolute(self.out))
        return tuple(
            AuditTask(replace(shared, teacher_file=file, seed=seed, out=str(out / folder_name(file, seed))))
            for file in self._named(begun)
            for seed in dict.fromkeys(self.seeds)
        )

    def _named(self, begun: Sequence[str]) -> dict[str, str]:
        """The absolute path by which each teacher is opened, and what the user calls it.

        Which paths are one file is told with links and ``..`` resolved; none is opened by another name than it has, for
        what a link leads to may lack the suffix and the files beside it.
        """
        known, paths = set(begun), {os.path.realpath(file): file for file in reversed(begun)}
        named: dict[str, str] = {}
        for file in self.files:
            path = absolute(file)
            named.setdefault(path if path in known else paths.setdefault(os.path.realpath(path), path), file)
        return named


def folder_name(file: str, seed: int) -> str:
    """A readable name that no other file or seed has, valid on every system, and the same in every run of the batch.

    Args:
        file: Absolute path; files of the same name in different folders get different names.
        seed: Of the audit.
    """
    stem = re.sub(r"[^A-Za-z0-9._-]+", "_", Path(file).stem).strip("._-")[:_STEM_LENGTH] or "teacher"
    mark = hashlib.sha256(file.encode(errors="surrogateescape")).hexdigest()[:_MARK_LENGTH]
    return f"{stem}-{mark}-seed{seed}"

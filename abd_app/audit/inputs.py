"""What a run was given beside the teacher: a run that goes on must have the same."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from abd_app.errors import UsageError
from abd_app.measure import LabelledSet
from abd_app.plan import BUILT_IN_TRIGGERS, AuditPlan
from abd_app.run_files import file_sha256


def fingerprints(plan: AuditPlan, evaluation: LabelledSet | None) -> dict[str, str]:
    """SHA-256 by path: of the labelled images as they are measured, and of the files of triggers, masks and picture."""
    pictures = [trigger.name for trigger in plan.triggers if trigger.name not in BUILT_IN_TRIGGERS]
    masks = [trigger.mask for trigger in plan.triggers if trigger.mask is not None]
    files = [*pictures, *masks, *([plan.picture] if plan.picture is not None else [])]
    found = {file: file_sha256(Path(file)) for file in files}
    if plan.data is not None and evaluation is not None:
        digest = hashlib.sha256(np.ascontiguousarray(evaluation.images.numpy()).data)
        digest.update(np.ascontiguousarray(evaluation.labels.numpy()).data)
        found[plan.data] = digest.hexdigest()
    return found


def check_unchanged(checkpoint: dict[str, Any] | None, now: dict[str, str], folder: Path) -> None:
    """Refuses to go on from a checkpoint with other images than the run began with: its figures would be of both.

    Raises:
        UsageError: Names what has changed.
    """
    before = {} if checkpoint is None else checkpoint.get("inputs", {})  # an earlier version kept none
    changed = [path for path, digest in now.items() if before.get(path, digest) != digest]
    if changed:
        raise UsageError(
            "The images have changed since the run was started.",
            where=", ".join(changed),
            why=f"The checkpoint in {folder} belongs to others.",
            remedy="Put the original ones back to continue, or start a new run in another folder.",
        )

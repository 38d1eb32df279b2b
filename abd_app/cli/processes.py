"""``torchrun -m abd_app distill ...``: which of several processes this one is.

Known from the environment, so that no command needs the engine to find out.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from abd_app.errors import UsageError
from abd_app.plan import AuditPlan


def are_several() -> bool:
    """Whether torchrun has started this process and others."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"


def refuse_unable(command: str | None) -> None:
    """Refuses a command that every process would do for itself, one over the other.

    Raises:
        UsageError: Torchrun has started several processes, and the command is no distillation.
    """
    if are_several() and command != "distill":
        raise UsageError(
            f"{command or 'The window'} cannot run in several processes.",
            where="torchrun",
            remedy="Start it without torchrun; distill alone can be split.",
        )


@contextlib.contextmanager
def joined(plan: AuditPlan) -> Iterator[bool]:
    """Joins the other processes if there are any; yields whether this one speaks.

    Raises:
        UsageError: They cannot carry out the plan together.
    """
    if not are_several():
        yield True
        return
    from abd_app.audit import together

    with together.joined(plan) as speaks:
        yield speaks


def speaks_of_failure() -> bool:
    """Whether a failure of this process is to be reported: of several processes the first to fail reports it."""
    if not are_several():
        return True
    from abd_app.audit import together

    return together.first_to_fail()

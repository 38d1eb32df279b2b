"""How an exception or the end of a process becomes the one event that tells the user."""

from __future__ import annotations

import signal
import traceback

from abd_app.errors import foreseen
from abd_app.events import AuditFailed

_REPORT_IT = "Copy the details and report them; the app stays usable."


def failure_of(error: BaseException) -> AuditFailed:
    """The event for an exception that ended a job."""
    details = "".join(traceback.format_exception(error))
    if (told := foreseen(error)) is not None:
        return AuditFailed(told.what, told.where, told.why, told.remedy, told.exit_code, details)
    why = f"{type(error).__name__}: {error}"
    return AuditFailed("The engine met an unexpected problem.", "", why, _REPORT_IT, 4, details)


def failure_of_exit(exit_code: int | None, *, pid: int | None) -> AuditFailed:
    """The event for an engine process that ended by itself."""
    why, remedy = f"Exit code {exit_code}.", _REPORT_IT
    if exit_code is not None and exit_code < 0:
        number = -exit_code
        name = signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"
        why = f"It was ended by {name}."
        if name == "SIGKILL":
            why += " The system does this when memory runs out."
            remedy = "Close other programs or choose a smaller student, then run again."
    details = f"engine process {pid}, exit code {exit_code}"
    return AuditFailed("The engine stopped.", f"process {pid}", why, remedy, 4, details)

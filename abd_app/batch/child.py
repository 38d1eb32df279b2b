"""One audit of a batch in a process of its own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from abd_app.batch.folder import continued
from abd_app.batch.outcome import Outcome, done, failed
from abd_app.batch.tasks import AuditTask
from abd_app.events import AuditCancelled, AuditFailed, AuditFinished, Event, TeacherInspected
from abd_app.run_files import file_sha256
from abd_app.worker.engine import TORCH_RUNNER, EngineProcess
from abd_app.worker.failure import failure_of
from abd_app.worker.messages import AuditJob


class RunningAudit:
    """An engine process with one audit. It ends with this process, however this process ends.

    A run that was interrupted goes on from its last checkpoint.

    Args:
        task: The audit.
        runner: Dotted name of the module that does the work, as for :class:`EngineProcess`.
        environment: Variables that the process gets besides this one's own.
    """

    def __init__(
        self,
        task: AuditTask,
        *,
        runner: str = TORCH_RUNNER,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._task = task
        self._engine = EngineProcess(runner, environment=environment)
        self._sha256 = ""
        self._not_started: AuditFailed | None = None
        try:
            self._engine.submit(AuditJob(continued(task.plan)))
        except OSError as error:  # the system has no room for one more process
            self._not_started = failure_of(error)

    def poll(self, timeout_s: float) -> Outcome | None:
        """How the audit ended, or ``None`` while it runs; waits up to ``timeout_s`` for news."""
        events: list[Event] = [self._not_started] if self._not_started else self._engine.poll(timeout_s)
        for event in events:
            if isinstance(event, TeacherInspected):
                self._sha256 = event.card.sha256
            elif isinstance(event, AuditFinished):
                return done(self._task, event.report)
            elif isinstance(event, AuditFailed):
                return failed(self._task, event, sha256=self._sha256 or file_sha256(self._task.plan.teacher_file))
            else:
                assert not isinstance(event, AuditCancelled), "nobody cancels a single audit of a batch"
        return None

    def cancel(self) -> None:
        """Asks the process to drop its work; does not wait."""
        self._engine.command("cancel")

    def close(self) -> None:
        """Ends the process, if it still runs; it is gone afterwards."""
        self._engine.close()

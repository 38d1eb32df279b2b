"""One audit from the file to the report."""

from __future__ import annotations

from collections.abc import Callable, Generator

from abd_app.audit.finishing import export_student
from abd_app.audit.folder import RunFolder
from abd_app.audit.learning import Wishes, learn
from abd_app.audit.opening import open_audit
from abd_app.audit.purifying import purify
from abd_app.distill.compute.parallel import barrier, is_main_process
from abd_app.events import AuditFinished, Event, RunBegan
from abd_app.plan import PURIFIED, AuditPlan


def run_audit(
    plan: AuditPlan,
    *,
    stop_requested: Callable[[], bool] = lambda: False,
    checkpoint_wanted: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, None]:
    """Opens the teacher, distils a student (and an undefended twin), measures all, exports the student and reports.

    With ``student='purified'`` the teacher itself, purified, takes the student's place.

    Pausing is not asking for the next event. Cancelling is closing the generator; a run can then go on from its last
    checkpoint. One that ends before it has a checkpoint leaves no folder, unless one is wanted at that moment: then
    it can begin again in its folder. A finished one that is to go on gives its result again.

    Of several processes (:mod:`abd_app.audit.together`) all learn, and the first alone measures, writes and exports.

    Args:
        plan: Every choice.
        stop_requested: Turns True when the user wants what has been learned so far: learning ends, the rest is done.
            It waits for a first step, and does nothing to a teacher that is purified: before the end that is none.
        checkpoint_wanted: Turns True when a checkpoint is wanted after the next step; ``CheckpointSaved`` follows.

    Raises:
        AuditError: With what happened, where, why, and what to do.
    """
    wishes = Wishes(stop_requested, checkpoint_wanted)
    with RunFolder(plan, keeps=checkpoint_wanted) as folder:
        if (report := folder.finished()) is not None:
            yield RunBegan(plan.out, "finished")
            yield AuditFinished(plan.out, report)
            return
        audit = yield from open_audit(plan, folder)
        student = yield from purify(audit) if plan.student == PURIFIED else learn(audit, "student", wishes)
        if plan.compare and not audit.record.stopped_early:
            yield from learn(audit, "twin", wishes)
        if is_main_process():
            yield from export_student(audit, student)
        barrier()

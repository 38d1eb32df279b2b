"""A batch from its plan to its summary."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

from abd_app.batch.folder import BatchFolder, earlier_outcome, remove_unsaved
from abd_app.batch.local_pool import local_pool, local_slots
from abd_app.batch.outcome import AuditEnded, BatchEvent, BatchFinished, BatchPlanned, Outcome, unfinished
from abd_app.batch.ray_pool import RayPool
from abd_app.batch.summary import write_summary
from abd_app.batch.tasks import BatchPlan
from abd_app.worker.engine import TORCH_RUNNER


def run_batch(plan: BatchPlan, *, runner: str = TORCH_RUNNER) -> Generator[BatchEvent, None, None]:
    """Runs what has not been finished yet, and keeps ``summary.csv`` and ``summary.html`` up to date.

    A teacher that is refused or whose audit crashes is one outcome among others. Closing the generator ends the audits
    that run; they go on from their checkpoints when the batch is continued.

    Args:
        plan: Every choice.
        runner: Dotted name of the module that does the work of one audit, as for the engine process.

    Raises:
        AuditError: The batch as a whole cannot be run: its folder, its device or its cluster.
    """
    folder = BatchFolder(plan)
    tasks = folder.tasks
    with contextlib.ExitStack() as resources:
        resources.callback(remove_unsaved, tasks)  # once no process of this machine is left
        if plan.ray is None:
            slots = local_slots(plan.options, plan.jobs)
            jobs: int | None = len(slots)
        else:
            cluster = resources.enter_context(RayPool(plan.ray, device=plan.options.device, jobs=plan.jobs))
            jobs = plan.jobs
        folder.begin()
        outcomes: dict[str, Outcome] = {task.folder: unfinished(task) for task in tasks}
        earlier = [found for task in tasks if (found := earlier_outcome(task)) is not None]
        outcomes |= {outcome.task.folder: outcome for outcome in earlier}
        write_summary(tuple(outcomes.values()), folder.path)
        yield BatchPlanned(len(tasks), sum(outcome.status == "done" for outcome in earlier), jobs)
        for outcome in earlier:
            yield AuditEnded(outcome)
        known = {outcome.task.folder for outcome in earlier}
        left = [task for task in tasks if task.folder not in known]
        running = local_pool(left, slots, runner=runner) if plan.ray is None else cluster.run(left, runner=runner)
        for event in resources.enter_context(contextlib.closing(running)):
            if isinstance(event, AuditEnded):
                outcomes[event.outcome.task.folder] = event.outcome
                write_summary(tuple(outcomes.values()), folder.path)
            yield event
    yield BatchFinished(tuple(outcomes.values()))

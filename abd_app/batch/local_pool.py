"""The audits of a batch on this machine: one process each, one slot of a device each."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass

from abd_app.batch.child import RunningAudit
from abd_app.batch.outcome import AuditEnded, AuditStarted
from abd_app.batch.tasks import AuditTask
from abd_app.plan import AuditPlan
from abd_app.worker.engine import TORCH_RUNNER

_POLL_S = 0.2


@dataclass(frozen=True)
class Slot:
    """A place where one audit at a time runs.

    Attributes:
        name: For people.
        environment: What confines an audit's process to it.
    """

    name: str
    environment: Mapping[str, str]


def local_slots(options: AuditPlan, jobs: int | None) -> list[Slot]:
    """Where the audits of a batch run on this machine.

    Args:
        options: Says which device is wanted.
        jobs: How many slots; ``None``: one per CUDA device that is visible, or 1 on a CPU.

    Raises:
        UsageError: CUDA was asked for and is not there.
    """
    import torch

    from abd_app.distill.compute.device import choose_compute

    # torch counts the devices as the children will see them: other libraries number them in another order.
    if choose_compute(options.device, options.precision).device.type == "cuda":
        visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")
        count = torch.cuda.device_count()
        gpus = visible[:count] if visible != [""] else [str(index) for index in range(count)]
    else:
        gpus = []
    return make_slots(gpus, jobs or max(1, len(gpus)), cores=_cores())


def make_slots(gpus: Sequence[str], jobs: int, *, cores: int) -> list[Slot]:
    """Deals GPUs out in turn, and the cores in equal shares.

    Args:
        gpus: Their names for ``CUDA_VISIBLE_DEVICES``; empty: the audits compute on the CPU.
        jobs: How many slots.
        cores: To be divided among them; one slot alone keeps what this process was given.
    """
    threads = {"OMP_NUM_THREADS": str(max(1, cores // jobs))} if jobs > 1 else {}
    if not gpus:
        return [Slot("CPU", threads)] * jobs
    dealt = [gpus[index % len(gpus)].strip() for index in range(jobs)]
    return [Slot(f"GPU {gpu}", threads | {"CUDA_VISIBLE_DEVICES": gpu}) for gpu in dealt]


def local_pool(
    tasks: Sequence[AuditTask], slots: Sequence[Slot], *, runner: str = TORCH_RUNNER
) -> Generator[AuditStarted | AuditEnded, None, None]:
    """Runs every task in a process of its own, as many at a time as there are slots.

    Closing the generator ends the processes. One that crashes or is killed ends its own audit alone.
    """
    waiting, free = deque(tasks), deque(slots)
    running: list[tuple[RunningAudit, Slot]] = []
    try:
        while waiting or running:
            while waiting and free:
                task, slot = waiting.popleft(), free.popleft()
                running.append((RunningAudit(task, runner=runner, environment=slot.environment), slot))
                yield AuditStarted(task, slot.name)
            for audit, slot in list(running):
                outcome = audit.poll(_POLL_S / len(running))
                if outcome is not None:
                    audit.close()
                    running.remove((audit, slot))
                    free.append(slot)
                    yield AuditEnded(outcome)
    finally:
        for audit, _ in running:
            audit.cancel()
        for audit, _ in running:
            audit.close()


def _cores() -> int:
    """Cores that this process may use, or as many threads as it was given."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, int(wanted)) if wanted.isdigit() and int(wanted) > 0 else allowed

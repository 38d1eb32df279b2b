"""The audits of a batch on a Ray cluster: one task each, with its share of a GPU. The only module that imports Ray."""

from __future__ import annotations

import logging
import os
import socket
from collections import deque
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Any

from abd_app.batch.child import RunningAudit
from abd_app.batch.outcome import AuditEnded, AuditStarted, failed
from abd_app.batch.tasks import AuditTask
from abd_app.errors import UsageError, first_line
from abd_app.events import AuditFailed
from abd_app.worker.engine import TORCH_RUNNER

_RETRIES = 3
_CONNECT_S = 5.0
_WAIT_S = 2.0
_OBJECT_STORE_BYTES = 128 * 1024**2
"""Of a local Ray: a plan and a report are all that it carries."""


class RayPool:
    """A connection to a cluster, as a context.

    Args:
        address: ``HOST:PORT``; ``auto``: the cluster that this machine is part of; ``local``: a new one here.
        device: What the audits are to compute on; ``auto``: GPUs if the cluster has any.
        jobs: Audits at a time; more than there are GPUs share them. ``None``: one per GPU, or one per core without.

    Raises:
        UsageError: Ray is not installed, the cluster does not answer or has not what the audits need.
    """

    def __init__(self, address: str, *, device: str, jobs: int | None) -> None:
        self._address, self._device, self._jobs = address, device, jobs

    def __enter__(self) -> RayPool:
        self._ray = _connected(self._address)
        try:
            self._share = self._audit_share()
        except UsageError:
            self._ray.shutdown()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Ray ends the workers of a driver that leaves, and an audit's process ends with its worker.
        self._ray.shutdown()

    def run(
        self, tasks: Sequence[AuditTask], *, runner: str = TORCH_RUNNER
    ) -> Generator[AuditStarted | AuditEnded, None, None]:
        """Runs every task; the audit of a worker or machine that dies goes on from its checkpoint on another."""
        remote = self._ray.remote(num_returns="streaming", max_retries=_RETRIES, max_calls=1, **self._share)(_audit)
        waiting, running = deque(tasks), dict[Any, AuditTask]()
        while waiting or running:
            while waiting and (self._jobs is None or len(running) < self._jobs):
                task = waiting.popleft()
                running[remote.options(name=f"audit {task.folder}").remote(task, runner)] = task
            ready, _ = self._ray.wait(list(running), num_returns=1, timeout=_WAIT_S)
            for stream in ready:
                event = self._next(stream, running[stream])
                if isinstance(event, AuditEnded):
                    del running[stream]
                yield event

    def _next(self, stream: Any, task: AuditTask) -> AuditStarted | AuditEnded:
        try:
            event: AuditStarted | AuditEnded = self._ray.get(next(stream))
            return event
        except (self._ray.exceptions.RayError, StopIteration) as error:
            why = next((line for line in reversed(str(error).splitlines()) if line.strip()), type(error).__name__)
            remedy = "See Ray's logs on that machine; the app must be installed there, and the files reachable."
            return AuditEnded(failed(task, AuditFailed("Ray could not run the audit.", "", why, remedy, 4)))

    def _audit_share(self) -> dict[str, float]:
        """What one audit takes of the cluster, in Ray's resources."""
        total = self._ray.cluster_resources()
        nodes = [node["Resources"] for node in self._ray.nodes() if node["Alive"]]
        gpus = int(total.get("GPU", 0))
        if self._device == "cuda" and not gpus:
            raise UsageError(
                "The Ray cluster has no GPU.",
                where=f"--ray {self._address} --device cuda",
                remedy="Use --device auto or cpu, or a cluster with GPUs.",
            )
        return audit_share(
            gpus=0 if self._device == "cpu" else gpus,
            cores=int(total.get("CPU", 0)),
            largest_node_cores=int(max((node.get("CPU", 0) for node in nodes), default=0)),
            jobs=self._jobs,
        )


def audit_share(*, gpus: int, cores: int, largest_node_cores: int, jobs: int | None) -> dict[str, float]:
    """The ``num_gpus`` and ``num_cpus`` of one audit, so that ``jobs`` of them fit.

    Ray sets ``CUDA_VISIBLE_DEVICES`` and ``OMP_NUM_THREADS`` of a worker accordingly.
    """
    if gpus:
        per_gpu = 1 if jobs is None else -(-jobs // gpus)
        return {"num_gpus": 1 / per_gpu, "num_cpus": 1}
    # A task runs on one machine: more cores than the largest has would wait for ever.
    return {"num_gpus": 0, "num_cpus": 1 if jobs is None else max(1, min(cores // jobs, largest_node_cores))}


def _audit(task: AuditTask, runner: str) -> Generator[AuditStarted | AuditEnded, None, None]:
    """Runs on a worker. The teacher is opened in a process below it: nothing that read it is unpickled by others."""
    yield AuditStarted(task, f"{socket.gethostname()}, process {os.getpid()}")
    audit = RunningAudit(task, runner=runner)
    try:
        while (outcome := audit.poll(_WAIT_S)) is None:
            pass
    finally:
        audit.close()
    yield AuditEnded(outcome)


def _connected(address: str) -> Any:
    """The module ``ray``, connected; it reports no usage and opens no dashboard."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Without this, Ray warns of how a later release will treat CUDA_VISIBLE_DEVICES of tasks without a GPU.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError as error:
        raise UsageError(
            "Ray is not installed.",
            where=f"--ray {address}",
            why=str(error),
            remedy="Install it: pip install 'ray>=2.9' (or the app with its extra: pip install 'abd-app[ray]').",
        ) from error
    own = {"include_dashboard": False, "object_store_memory": _OBJECT_STORE_BYTES} if address == "local" else {}
    try:
        _check_somebody_listens(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, **own)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        raise UsageError(
            "The Ray cluster does not answer.",
            where=f"--ray {address}",
            why=first_line(error),
            remedy="Give HOST:PORT of its head node (ray start --head prints it), or local for this machine alone.",
        ) from error
    return ray


def _check_somebody_listens(address: str) -> None:
    """Fails at once where Ray itself would try for minutes."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"{address!r} is neither HOST:PORT nor auto nor local.")
    socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()

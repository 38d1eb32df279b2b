"""Many audits: every teacher with every seed, on this machine's devices or on a Ray cluster. Knows no terminal."""

from __future__ import annotations

from abd_app.batch.outcome import AuditEnded, AuditStarted, BatchEvent, BatchFinished, BatchPlanned
from abd_app.batch.run import run_batch
from abd_app.batch.tasks import BatchPlan

__all__ = ["AuditEnded", "AuditStarted", "BatchEvent", "BatchFinished", "BatchPlan", "BatchPlanned", "run_batch"]

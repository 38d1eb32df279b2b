"""The whole job as generators of events: open a teacher, distil it safely, watch it, export the student."""

from __future__ import annotations

from abd_app.audit.inspection import look_at_images, run_inspection
from abd_app.audit.run import run_audit

__all__ = ["look_at_images", "run_audit", "run_inspection"]

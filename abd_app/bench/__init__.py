"""How fast the engine is on this machine, next to the bare passes it needs and to the published way of doing them."""

from __future__ import annotations

from abd_app.bench.cases import CASES, Case
from abd_app.bench.rows import BenchRow, measure_row
from abd_app.bench.subject import Subject, make_subject

__all__ = ["CASES", "BenchRow", "Case", "Subject", "make_subject", "measure_row"]

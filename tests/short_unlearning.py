"""The teacher's Self-Retrospection in the fewest steps in which everything happens, for tests of what is around it."""

from __future__ import annotations

from abd_app.distill.unlearning.settings import UnlearningSettings

SHORT_UNLEARNING = UnlearningSettings(
    search_steps=2,
    patches=32,
    renewals=1,
    drawn=8,
    steps=2,
    batch_size=4,
    least_kept=0.0,
)
"""Whatever class stands out is unlearned, and nothing is undone."""

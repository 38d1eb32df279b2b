"""The teacher's Self-Retrospection in the fewest steps in which everything happens, for tests of what is around it."""

from __future__ import annotations

import pytest

from abd_app.distill.unlearning import all_to_all, bending
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


def shorten_searches(patch: pytest.MonkeyPatch) -> None:
    """The searches for a class by bending, and for classes that trade places, in a few steps."""
    patch.setattr(bending, "STEPS", 2)
    patch.setattr(all_to_all, "_FREE", 2)
    patch.setattr(all_to_all, "STEPS", 12)

"""The teacher's Self-Retrospection in the fewest steps in which everything happens, for tests of what is around it."""

from __future__ import annotations

import pytest

from abd_app.distill.unlearning import all_to_all, bending, margins, teacher_retrospection
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
    """The searches for a class, and for classes that trade places, in a few steps on a few images."""
    for name, value in {"MOST_CLASSES": 16, "_MOST_STARTS": 4}.items():
        patch.setattr(margins, name, value)
    patch.setattr(teacher_retrospection, "_CHECKED", 64)
    for name, value in {"STEPS": 2, "_SEEN": 16, "_FEWEST_SEEN": 1, "_JUDGED": 64, "_FEWEST_JUDGED": 2}.items():
        patch.setattr(bending, name, value)
    for name, value in {"_FREE": 2, "STEPS": 12, "SEEN": 16, "MAPPED": 64, "JUDGED": 64, "_ENOUGH": 4}.items():
        patch.setattr(all_to_all, name, value)

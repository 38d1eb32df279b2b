"""A vaccine check, run to its end."""

from __future__ import annotations

from typing import Any

from abd_app.distill.defences.vaccine import ShufflingVaccine, VaccineCheck
from tests.unit.distill.drained import drained


def checked(vaccine: ShufflingVaccine, *arguments: Any) -> VaccineCheck:
    """The outcome; what the check says on its way grows, up to 1 at most."""
    said, outcome = drained(vaccine.check(*arguments))
    shares = [0.0, *said]
    assert len(shares) > 1 and shares == sorted(shares) and shares[-1] <= 1
    return outcome

"""A vaccine check, run to its end."""

from __future__ import annotations

from typing import Any

from abd_app.distill.vaccine import ShufflingVaccine, VaccineCheck


def checked(vaccine: ShufflingVaccine, *arguments: Any) -> VaccineCheck:
    """The outcome; what the check says on its way grows, up to 1 at most."""
    shares, check = [0.0], vaccine.check(*arguments)
    while True:
        try:
            shares.append(next(check))
        except StopIteration as finished:
            assert len(shares) > 1 and shares == sorted(shares) and shares[-1] <= 1
            outcome: VaccineCheck = finished.value
            return outcome

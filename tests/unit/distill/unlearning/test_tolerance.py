"""How much of a margin an answer may lose in what unlearned, and still be believed."""

from __future__ import annotations

from typing import Any

import pytest

from abd_app.distill.compute.device import Compute
from abd_app.distill.unlearning.all_to_all import AllToAllTest
from abd_app.distill.unlearning.bending import BendTest
from abd_app.distill.unlearning.margins import MarginTest
from tests.unit.distill.planted import TARGET, new_retrospection

FOUND = MarginTest((0, 1, 2, 3, 4), (20.0, 30.0, 90.0, 10.0, 40.0), 0.001, 5)


def _retrospection(compute: Compute, found: MarginTest = FOUND, *, targets: tuple[int, ...] = (TARGET,)) -> Any:
    retrospection, _ = new_retrospection(compute)
    retrospection.search.margins, retrospection.targets = found, targets
    return retrospection


def test_it_is_a_tenth_of_how_far_most_classes_can_be_driven(compute: Compute) -> None:
    assert _retrospection(compute).tolerance == pytest.approx(3)


def test_nothing_is_tolerated_of_classes_that_are_never_ahead(compute: Compute) -> None:
    assert _retrospection(compute, MarginTest((0, 1, 2), (-1.0, -2.0, 9.0), 0.001, 5)).tolerance == 0


def test_without_anything_unlearned_nobody_judges(compute: Compute) -> None:
    assert _retrospection(compute, targets=()).tolerance is None
    assert new_retrospection(compute)[0].tolerance is None, "nothing has been looked for yet"


def test_what_was_found_otherwise_is_not_judged(compute: Compute, monkeypatch: pytest.MonkeyPatch) -> None:
    bent, traded, few = (_retrospection(compute) for _ in range(3))
    bent.search.bending = BendTest((0, 1, 2, 3, 4), (0.1, 0.1, 0.9, 0.1, 0.1))
    traded.search.all_to_all = AllToAllTest((1, 2, 3, 4, 0), 0.9)
    monkeypatch.setattr(few.search, "_num_classes", 3)
    assert bent.search.kind == "bend" and traded.search.kind == "blend" and few.search.few
    assert [one.tolerance for one in (bent, traded, few)] == [None, None, None]

"""Which defences a report says acted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from abd_app.audit.defences import defences_that_acted
from abd_app.audit.summary import Record
from abd_app.distill.recipe import choose_recipe
from abd_app.events import TargetSearched, VaccineChecked
from abd_app.plan import AuditPlan

ALL = ["activation bounds", "shuffling vaccine", "self-retrospection", "random marks"]
_LOOKED_AT: tuple[Any, ...] = ((0, 1), (1.0, 2.0))


def _acted(
    *, batchnorm: int, accepted: bool, searched: TargetSearched | None, student: str = "auto", method: str = "fast",
    defense: str = "abd", effort: str = "quick", steps: int = 100,
) -> list[str]:  # fmt: skip
    record = Record(steps=steps, vaccine=VaccineChecked(accepted, 0.02, 1, ()), target_search=searched)
    audit: Any = SimpleNamespace(
        recipe=choose_recipe(method, defense, effort, 100),
        record=record,
        plan=AuditPlan("t.pth", "out", student=student),
        teacher=SimpleNamespace(card=SimpleNamespace(batchnorm_layers=batchnorm)),
    )
    return defences_that_acted(audit)


def test_what_acted_is_told() -> None:
    found = TargetSearched(1, 0.001, (1,), *_LOOKED_AT)
    assert _acted(batchnorm=5, accepted=True, searched=found) == ALL
    nothing = TargetSearched(None, 0.5, (), *_LOOKED_AT)
    assert _acted(batchnorm=5, accepted=False, searched=nothing) == [ALL[0], *ALL[2:]], "it has looked"


def test_what_could_not_act_is_not() -> None:
    impossible = TargetSearched(None, 1.0, (), *_LOOKED_AT, possible=False)
    assert _acted(batchnorm=0, accepted=False, searched=impossible) == ["random marks"]
    undone = TargetSearched(1, 0.001, (), *_LOOKED_AT, undone=True)
    assert _acted(batchnorm=0, accepted=False, searched=undone) == ["random marks"]
    bent = TargetSearched(1, 1.0, (1,), *_LOOKED_AT, possible=False)
    assert _acted(batchnorm=0, accepted=False, searched=bent) == ALL[2:], "it was found otherwise"


@pytest.mark.parametrize(
    ("defense", "steps", "acted"), [("none", 100, []), ("abd", 100, ["self-retrospection"]), ("abd", 5, [])]
)
def test_paper_mode_searches_no_class_and_begins_late(defense: str, steps: int, acted: list[str]) -> None:
    how = {"method": "zskt", "defense": defense, "effort": "paper", "steps": steps}
    assert _acted(batchnorm=5, accepted=False, searched=None, **how) == acted  # type: ignore[arg-type]


def test_a_purified_teacher_has_seen_no_marks() -> None:
    found = TargetSearched(1, 0.001, (1,), *_LOOKED_AT)
    assert _acted(batchnorm=5, accepted=False, searched=found, student="purified") == [ALL[0], ALL[2]]

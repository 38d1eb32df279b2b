"""What several processes cannot do is refused before anything is read or written."""

from __future__ import annotations

from typing import Any

import pytest
from torch import distributed

from abd_app.audit import together
from abd_app.audit.together import check_plan
from abd_app.distill.compute import parallel
from abd_app.errors import UsageError
from abd_app.plan import AuditPlan


@pytest.mark.parametrize(
    ("choice", "processes", "named"),
    [
        ({"method": "cmi"}, 2, "--method cmi"),
        ({"effort": "paper", "method": "ood"}, 2, "--effort paper"),
        ({"minutes": 2.0}, 2, "--minutes 2.0"),
        ({}, 3, "3 processes"),
        ({}, 64, "64 processes"),
        ({"method": "ood"}, 16, "16 processes"),
    ],
)
def test_what_cannot_be_split_is_refused(choice: dict[str, Any], processes: int, named: str) -> None:
    with pytest.raises(UsageError) as refusal:
        check_plan(AuditPlan("t.pth", "out", **choice), processes)
    assert named in refusal.value.what and refusal.value.remedy


@pytest.mark.parametrize(
    ("method", "processes"), [("auto", 2), ("auto", 32), ("fast", 32), ("ood", 2), ("ood", 8), ("zskt", 32)]
)
def test_what_can_be_split_is_not(method: str, processes: int) -> None:
    check_plan(AuditPlan("t.pth", "out", method=method, effort="standard"), processes)


def test_a_process_that_was_started_otherwise_says_what_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    store = distributed.HashStore()
    monkeypatch.setattr(together, "_store", lambda: store)
    why, remedy = "The options of two of them differ.", "Give all of them the same command line."
    for is_first, options in ((True, "a"), (False, "a"), (False, "b")):
        monkeypatch.setattr(parallel, "is_main_process", lambda is_first=is_first: is_first)
        if options == "b":
            with pytest.raises(UsageError) as refusal:
                together._compare("plan", options, why, remedy)
            assert (refusal.value.why, refusal.value.remedy) == (why, remedy)
        else:
            together._compare("plan", options, why, remedy)

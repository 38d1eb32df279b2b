"""An order that cannot be carried out is refused before anything is read."""

from __future__ import annotations

from typing import Any

import pytest

from abd_app.errors import UsageError
from abd_app.plan import TriggerSpec
from abd_app.redteam import TeacherOrder


@pytest.mark.parametrize(
    ("choices", "option"),
    [
        ({"steps": 3, "epochs": 2}, "--steps, --epochs"),
        ({"steps": 0}, "--steps"),
        ({"epochs": 0}, "--epochs"),
        ({"poison": 0.0}, "--poison"),
        ({"poison": 0.6}, "--poison"),
        ({"poison": float("nan")}, "--poison"),
        ({"target": -1}, "--target"),
        ({"device": "abacus"}, "--device"),
        ({"seed": -1}, "--seed"),
    ],
)
def test_an_impossible_order_names_its_option(choices: dict[str, Any], option: str) -> None:
    with pytest.raises(UsageError) as caught:
        TeacherOrder("images", "out", TriggerSpec("sig"), **choices)
    assert caught.value.where == option and caught.value.remedy

"""Names and numbers as every reader may see them."""

from __future__ import annotations

from abd_app.text import percent, visible


def test_characters_that_act_are_spelled_out() -> None:
    assert visible("a\u202eb\nc\udcff\x1b[31m\u2028") == r"a\u202eb\nc\udcff\x1b[31m\u2028"
    assert visible("модель ✓ 名前 é") == "модель ✓ 名前 é"


def test_a_rate_is_percent_with_one_digit() -> None:
    assert (percent(0.0049), percent(1), percent(0.5, 0)) == ("0.5 %", "100.0 %", "50 %")

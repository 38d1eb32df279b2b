"""A failure in the window names places of the window."""

from __future__ import annotations

from pathlib import Path

import pytest

from abd_app.events import AuditFailed
from abd_app.gui.failure_text import failure_text


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("--data", "Where: Evaluation, labelled images"),
        ("--trigger mine.png", "Where: Evaluation, triggers to measure: mine.png"),
        ("--data, --target", "Where: Evaluation, labelled images, Evaluation, class the attacker wants"),
        ("/models/--data/a.pth", "Where: /models/--data/a.pth"),
        ("/my --data/a.pth", "Where: /my --data/a.pth"),
        ("--unheard-of", "Where: --unheard-of"),
    ],
)
def test_an_option_of_the_terminal_is_told_as_a_place_of_the_window(qapp: object, where: str, told: str) -> None:
    _, text, _ = failure_text(AuditFailed("It failed.", where, "because", "do this", 2), Path("the.log"))
    assert text.splitlines()[0] == told

"""A failure in the window names places of the window."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from abd_app.errors import UsageError
from abd_app.events import AuditFailed
from abd_app.gui.failure_text import failure_text
from abd_app.gui.look.wording import place_in_window, with_places
from abd_app.plan import AuditPlan
from abd_app.worker.failure import failure_of

PACKAGE = Path(__file__).parents[2] / "abd_app"
TERMINAL_ALONE = ("cli", "batch", "redteam", "bench", "gui", "__main__.py", "command.py", "together.py", "parallel.py")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")


def options_told() -> Iterator[tuple[str, str]]:
    """Every option that a text of the engine names, and the module; docstrings are not told."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).parts
        if not set(parts) & set(TERMINAL_ALONE):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
                    node.value.value = None
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    yield from ((option, "/".join(parts)) for option in OPTION.findall(node.value))


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("--data", "Where: Evaluation, labelled images"),
        ("--trigger mine.png", "Where: Evaluation, triggers to measure: mine.png"),
        ("--data, --target", "Where: Evaluation, labelled images, Evaluation, class the attacker wants"),
        ("/models/--data/a.pth", "Where: /models/--data/a.pth"),
        ("/my --data/a.pth", "Where: /my --data/a.pth"),
        ("--unheard-of", "Where: --unheard-of"),
        ("--defense", "Where: Plan, Advanced, defence"),
        ("--steps, --minutes", "Where: Plan, effort"),
        ("/my a, a/b, b.pth", "Where: /my a, a/b, b.pth"),
    ],
)
def test_an_option_of_the_terminal_is_told_as_a_place_of_the_window(qapp: object, where: str, told: str) -> None:
    _, text, _ = failure_text(AuditFailed("It failed.", where, "because", "do this", 2), Path("the.log"))
    assert text.splitlines()[0] == told


@pytest.mark.parametrize(
    ("remedy", "told"),
    [
        ("Give another folder with --out.", "Give another folder with “Plan, Advanced, output folder”."),
        ("Use --method ood or auto.", "Use “Plan, images from” ood or auto."),
        ("continue the run (--resume).", "continue the run (“History, Continue”)."),
        ("Look at /my --data/a.pth and at --data.npz.", "Look at /my --data/a.pth and at --data.npz."),
        ("Use --unheard-of.", "Use --unheard-of."),
    ],
)
def test_what_to_do_is_told_in_places_of_the_window(qapp: object, remedy: str, told: str) -> None:
    _, text, _ = failure_text(AuditFailed("It failed.", "", "", remedy, 2), Path("the.log"))
    assert text.splitlines()[0] == f"What to do: {told}"


def test_every_option_that_the_engine_names_has_a_place(qapp: object) -> None:
    told = dict(options_told())
    assert len(told) > 15
    assert {name: module for name, module in told.items() if place_in_window(name) == name} == {}
    assert {name: module for name, module in told.items() if name in with_places(f"Give {name}.")} == {}


def test_what_excludes_each_other_is_told_as_the_window_calls_it(qapp: object) -> None:
    with pytest.raises(UsageError) as raised:
        AuditPlan("t.pth", "out", student="purified", defense="sv")
    title, text, _ = failure_text(failure_of(raised.value), Path("the.log"))
    assert title == "“Plan, Advanced, defence” cannot be combined with “Plan, student” purified."
    assert "--" not in text

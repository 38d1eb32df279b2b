"""A generator, run to its end."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Said = TypeVar("Said")
Outcome = TypeVar("Outcome")


def drained(running: Generator[Said, None, Outcome]) -> tuple[list[Said], Outcome]:
    """What it says on its way, and what it returns."""
    said = []
    while True:
        try:
            said.append(next(running))
        except StopIteration as end:
            return said, end.value

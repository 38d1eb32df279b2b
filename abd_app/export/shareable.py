"""What is passed on names files, not the folders of whoever made it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from abd_app.text import visible


def without_folders(plan: dict[str, Any]) -> dict[str, Any]:
    """The plan, as plain values, with the names of files instead of their paths."""
    triggers = [_named(trigger, "name", "mask") for trigger in plan["triggers"]]
    return {**_named(plan, "teacher_file", "out", "data", "picture"), "triggers": triggers}


def trigger_labels(names: Iterable[str]) -> dict[str, str]:
    """How a page calls each trigger: a picture by its file's name, or by its path where two have the same."""
    bare = {name: Path(name).name or name for name in names}
    shared = Counter(bare.values())
    return {name: visible(name if shared[label] > 1 else label) for name, label in bare.items()}


def _named(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {**values, **{key: Path(values[key]).name for key in keys if values[key] is not None}}

"""What is passed on names files, not the folders of whoever made it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def without_folders(plan: dict[str, Any]) -> dict[str, Any]:
    """The plan, as plain values, with the names of files instead of their paths."""
    triggers = [_named(trigger, "name", "mask") for trigger in plan["triggers"]]
    return {**_named(plan, "teacher_file", "out", "data", "picture"), "triggers": triggers}


def _named(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {**values, **{key: Path(values[key]).name for key in keys if values[key] is not None}}

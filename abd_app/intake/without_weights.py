"""What is said of files that hold something else than the weights of one network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from abd_app.errors import TeacherRefusedError

WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model_state_dict", "model", "net")
"""The usual names of a state_dict in a checkpoint."""
MAX_DEPTH = 4
"""Of wrappers in wrappers."""
_SHOWN_KEYS = 3
_OWN_CHECKPOINT = frozenset(("role", "teacher_sha256", "distillation"))
"""Some of what a run of this app saves to be continued."""


def refuse_own_checkpoint(content: object, original: Path) -> None:
    """Refuses what a run of this app saves to be continued.

    Raises:
        TeacherRefusedError: It is that.
    """
    if isinstance(content, Mapping) and content.keys() >= _OWN_CHECKPOINT:
        raise TeacherRefusedError(
            "The file is the checkpoint of a run of this app.",
            where=str(original),
            why="It holds what the run needs to go on: the state of what learns, and no teacher.",
            remedy="Open student.safetensors in the folder of the finished run, or continue the run with --resume.",
        )


def no_weights(content: object, original: Path) -> TeacherRefusedError:
    """The refusal of a file in which no weights were found."""
    for _ in range(MAX_DEPTH):  # what was expected to be the weights says more than what it lies in
        inner = [content.get(name) for name in WRAPPERS] if isinstance(content, Mapping) else []
        content = next((one for one in inner if isinstance(one, Mapping) and one), content)
    held = type(content).__name__
    if isinstance(content, Mapping):
        held = "a dictionary with " + (shown([repr(key) for key in content]) or "nothing in it")
    return TeacherRefusedError(
        "There are no weights in the file.",
        where=str(original),
        why=f"It holds {held}, and no state_dict under {', '.join(WRAPPERS)}.",
        remedy="Save the model's state_dict: torch.save(model.state_dict(), 'weights.pth').",
    )


def shown(names: list[str]) -> str:
    """The first of some names that a file gives, fit to be shown."""
    printable = [re.sub(r"[^\x20-\x7e]", "?", name)[:80] for name in names[:_SHOWN_KEYS]]
    return ", ".join(printable) + (f" and {len(names) - _SHOWN_KEYS} more" if len(names) > _SHOWN_KEYS else "")

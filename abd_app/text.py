"""Names and numbers as every reader may see them: in the window, in the terminal and in a report."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from pathlib import PurePath

_ACTING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def visible(text: str) -> str:
    r"""A text from a file, with characters that act spelled out instead of obeyed, e.g. ``\u202e``.

    These are control, format (such as the direction of writing) and separator characters and lone surrogates.
    """
    return "".join(char if unicodedata.category(char) not in _ACTING else ascii(char)[1:-1] for char in text)


def distinct_file_names(paths: Sequence[str]) -> list[str]:
    """The last part of each path, with as many folders before it as tell it from the others; safe to show."""
    parts = [PurePath(path).parts for path in paths]
    names = []
    for path, own in zip(paths, parts, strict=True):
        alone = (depth for depth in range(1, len(own)) if sum(one[-depth:] == own[-depth:] for one in parts) == 1)
        depth = next(alone, len(own))
        names.append(visible(str(PurePath(*own[-depth:])) if own else path))
    return names


def percent(rate: float, digits: int = 1) -> str:
    """A rate in [0, 1] as ``97.5 %``."""
    return f"{100 * rate:.{digits}f} %"

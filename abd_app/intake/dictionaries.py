"""The dictionaries of what a weights file holds, however deep they lie."""

from __future__ import annotations

from collections.abc import Iterator


def dictionaries(content: object) -> Iterator[dict[object, object]]:
    """Every dictionary in ``content`` and in what it holds, once: a file may hold itself.

    Attributes that a file gives its dictionaries are not asked: one may be called ``values``, and hide the method.
    """
    waiting, seen = [content], set[int]()
    while waiting:
        one = waiting.pop()
        if id(one) in seen or not isinstance(one, dict | list | tuple):
            continue
        seen.add(id(one))
        if isinstance(one, dict):
            yield one
        waiting.extend(dict.values(one) if isinstance(one, dict) else one)

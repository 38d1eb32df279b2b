"""Which class of the teacher a named class of labelled images is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from abd_app.teacher import Finding

_SHOWN = 5
_IGNORED = str.maketrans("", "", " _")


def indices_by_name(names: Sequence[str], teacher_names: Sequence[str]) -> list[int] | None:
    """The teacher's class index of each name; ``None`` unless every name means one class, and each another.

    Names are compared as they are, and if that fails without regard to case, spaces and underscores.
    """
    for form in (str, _loosely):
        known = [form(name) for name in teacher_names]
        wanted = [form(name) for name in names]
        times = Counter(known)
        if len(set(wanted)) == len(wanted) and all(times[name] == 1 for name in wanted):
            return [known.index(name) for name in wanted]
    return None


def order_doubted(folders: Sequence[str], teacher_names: Sequence[str], called: str) -> Finding:
    """Says that class folders were taken in sorted order, for their names are not those of the teacher's classes.

    Args:
        folders: Their names, in the order in which they were taken; as many as the teacher has classes.
        teacher_names: By class index.
        called: What the images are called.
    """
    known = Counter(_loosely(name) for name in teacher_names)
    unknown = [repr(name) for name in folders if known[_loosely(name)] != 1] or [repr(name) for name in folders]
    pairs = enumerate(zip(folders, teacher_names, strict=True))
    taken = [f"{folder!r} as {index} {teacher_name!r}" for index, (folder, teacher_name) in pairs]
    detail = (
        f"No single class of the teacher is called {_listed(unknown)}. The folders were taken in sorted order: "
        f"{_listed(taken)}. If that is not the teacher's order, accuracy and attack success are wrong: name the "
        "folders like the teacher's classes, or by class index (0, 1, 2, ...)."
    )
    return Finding("warning", f"{called.capitalize()} name other classes than the teacher", detail)


def numbers_as_names(folders: Sequence[str], indices: Sequence[int], called: str) -> Finding:
    """Says that numbers by which class folders are called were taken for names of classes, not for their indices.

    Args:
        folders: Their names.
        indices: The teacher's class of each.
        called: What the images are called.
    """
    taken = [
        f"{folder!r} is class {index}" for folder, index in zip(folders, indices, strict=True) if int(folder) != index
    ]
    return Finding(
        "warning",
        f"{called.capitalize()} have numbers that the teacher has as names, in another order",
        f"Its file calls its classes by these numbers, so that the folder {_listed(taken)}. If the folders are "
        "numbered by class index instead, accuracy and attack success are wrong: give an .npz without names.",
    )


def _loosely(name: str) -> str:
    return name.casefold().translate(_IGNORED)


def _listed(parts: Sequence[str]) -> str:
    more = len(parts) - _SHOWN
    return ", ".join(parts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")

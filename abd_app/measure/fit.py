"""What is said of labelled images that are not as the teacher takes them, or are too many."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from abd_app.teacher import Finding, ImageSpec

MAX_BYTES = 2 * 2**30
"""Memory for the decoded images; of a larger set, an even share is used and a finding says so."""


def affordable(count: int, spec: ImageSpec) -> npt.NDArray[np.int64]:
    """Indices of the images that fit into ``MAX_BYTES``, spread evenly over the set."""
    limit = max(1, MAX_BYTES // (spec.channels * spec.height * spec.width))
    return np.arange(count) if count <= limit else np.arange(limit) * count // limit


def not_all(called: str, *, used: int, total: int) -> tuple[Finding, ...]:
    """Says that memory holds a part of them only; nothing where it holds all."""
    if used == total:
        return ()
    return (Finding("info", f"{used} of {total} {called} are used", "All of them would exceed the memory limit."),)


def other_size(called: str, detail: str) -> Finding:
    """Says that images are resized; ``detail``: which, from and to what."""
    return Finding("warning", f"{called.capitalize()} have another size than the teacher's input", detail)


def other_colours(called: str, spec: ImageSpec, detail: str) -> Finding:
    """Says that images are converted; ``detail``: which."""
    return Finding(
        "warning", f"{called.capitalize()} are converted to {'grey' if spec.channels == 1 else 'RGB'}", detail
    )

"""A bound on the memory that looking into a file may take, so that no file fills the machine."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import torch

from abd_app.errors import RunFailedError, TeacherRefusedError, first_line
from abd_app.memory import PROCESS, available_bytes, number_behind

_LACK_OF_MEMORY = re.compile(
    "bad_alloc|bad allocation|[Ff]ailed to allocate|[Cc]an('t|not) allocate memory|not enough memory|Unable to allocate"
)
_AT_LEAST_BYTES = 2 * 1024**3
_TIMES_THE_FILE = 12
"""Simplifying and converting a graph takes up to nine times the size of its file."""
_TIMES_AN_ANSWER = 3
"""For the session that runs it, for the converted network, and for its gradient."""
_SHARE_OF_WHAT_IS_LEFT = 0.8
_USUAL_STACK_BYTES = 8 * 1024**2
_POOLS = 3
"""Of threads: two of PyTorch, one of onnxruntime."""


@contextlib.contextmanager
def limited_memory(file_bytes: int, answer_bytes: int, original: Path) -> Iterator[None]:
    """Allocations of this process fail beyond what looking into an honest file takes, from now on.

    That is 2 GiB, or a multiple of both sizes, but not more than most of what is left: both sizes are what
    the file says of itself. On systems other than Linux, which do not count memory when it is asked for, nothing is
    bounded.

    Args:
        file_bytes: Of the file, and of others that belong to it.
        answer_bytes: Of all that its network computes to answer as many images as it is asked about at once.
        original: Where the user keeps the file, for the message.

    Raises:
        TeacherRefusedError: Something inside has failed for lack of memory.
    """
    try:
        with _bounded(max(_AT_LEAST_BYTES, _TIMES_THE_FILE * file_bytes + _TIMES_AN_ANSWER * answer_bytes)):
            yield
    except Exception as error:
        if not is_for_lack_of_memory(error):
            raise
        raise TeacherRefusedError(
            "The model takes far more memory than a classifier of its size.",
            where=str(original),
            why="Reading it was stopped before it could fill the memory of this machine.",
            remedy="Export it again, for one size of images and with constants folded, or open its state_dict.",
        ) from error


@contextlib.contextmanager
def _bounded(further_bytes: int) -> Iterator[None]:
    if sys.platform != "linux":
        yield
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    bounds = [bound for bound in (soft, hard) if bound != resource.RLIM_INFINITY]
    most = max(_AT_LEAST_BYTES, int(_SHARE_OF_WHAT_IS_LEFT * (available_bytes() or 0)))
    taken = number_behind("VmData:", PROCESS / "status") * 1024
    limit = taken + min(further_bytes, most) + _stack_bytes()
    resource.setrlimit(resource.RLIMIT_DATA, (min([limit, *bounds]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def is_for_lack_of_memory(error: BaseException | None) -> bool:
    """Whether it, or what led to it, says so: every library has its own words."""
    while error is not None:
        if isinstance(error, MemoryError) or _LACK_OF_MEMORY.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def no_room(where: str | Path, error: BaseException) -> RunFailedError:
    """What to raise where ``error`` is for lack of memory: nothing is wrong with the file."""
    return RunFailedError(
        "There is not enough memory to look into the file.",
        where=str(where),
        why=first_line(error)[:200],
        remedy="Close other programs, or use a computer with more memory, and try again.",
    )


def _stack_bytes() -> int:
    """Of the threads that PyTorch and onnxruntime start when they first compute, which count, too."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    each = _USUAL_STACK_BYTES if soft == resource.RLIM_INFINITY else max(soft, _USUAL_STACK_BYTES)
    return _POOLS * max(os.cpu_count() or 1, torch.get_num_threads()) * each

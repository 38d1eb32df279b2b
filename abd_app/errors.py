"""What goes wrong and what to do about it: one exception tree for everything a user can cause."""

from __future__ import annotations

import errno


class AuditError(Exception):
    """A failure with an explanation: what happened, where, why, and what to do.

    Attributes:
        what: What happened, one short sentence.
        where: The file, option, layer or folder concerned; empty if there is none.
        why: The cause, one short sentence; empty if it is in ``what``.
        remedy: What the user can do next, one imperative sentence.
        exit_code: The process exit code of the command line for this class.
    """

    exit_code = 4

    def __init__(self, what: str, *, where: str = "", why: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.why = why
        self.remedy = remedy

    def __str__(self) -> str:
        lines = [self.what]
        lines += [f"  {label}: {text}" for label, text in self.parts() if text]
        return "\n".join(lines)

    def parts(self) -> tuple[tuple[str, str], ...]:
        """The labelled parts after ``what``, in reading order."""
        return (("where", self.where), ("why", self.why), ("what to do", self.remedy))


class UsageError(AuditError):
    """The request cannot be carried out as it stands: a wrong path, option or combination."""

    exit_code = 2


class MissingFactsError(UsageError):
    """The teacher file does not say something that is needed, and the user has not said it either."""


class TeacherRefusedError(AuditError):
    """The file is not a usable teacher, or looking further into it would not be safe."""

    exit_code = 3


class RunCancelledError(AuditError):
    """The user has ended the audit."""

    exit_code = 130


class RunFailedError(AuditError):
    """The audit started and could not finish: device, disk, numerics or parity."""

    exit_code = 4


_ONEDNN = ("could not create a memory object", "could not create a primitive")
"""What the library that computes convolutions on a CPU says when it gets no memory for its code or its buffers."""


def out_of_memory(error: BaseException) -> bool:
    """Whether memory did not hold what was asked for: on a CPU PyTorch tells it by an ordinary ``RuntimeError``.

    PyTorch is not imported to name its class, since the window's process has no engine in it.
    """
    return type(error).__name__ == "OutOfMemoryError" or _of_a_cpu(error)


def _of_a_cpu(error: BaseException) -> bool:
    if not isinstance(error, RuntimeError):
        return isinstance(error, MemoryError)
    return "DefaultCPUAllocator" in str(error) or str(error) in _ONEDNN


def more_memory(error: BaseException) -> str:
    """What to do where memory did not hold what was asked for."""
    if _of_a_cpu(error):
        return "Close other programs, choose a smaller student, or use a computer with more memory."
    return "Close other programs on this device, choose a smaller student, or run on the CPU."


def foreseen(error: BaseException) -> AuditError | None:
    """What to tell of an exception that ended everything: itself, or a full memory or disk; ``None`` of all others."""
    if isinstance(error, AuditError):
        return error
    if out_of_memory(error):
        return RunFailedError(
            "The device ran out of memory.",
            why=first_line(error) if str(error).strip() else "An allocation was refused.",
            remedy=more_memory(error),
        )
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return RunFailedError(
            "The disk is full.",
            where=str(error.filename or ""),
            remedy="Free some space or choose another output folder, then run again.",
        )
    return None


def first_line(error: BaseException) -> str:
    """The first line of an exception's text; the name of its class if it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__

"""As many images at a time as memory holds: measured before the first step, halved when memory runs out."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import TypeVar

from abd_app.distill.compute import parallel
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.device_memory import Memory, measured_portion, memory_of, refuse_alone, release_memory
from abd_app.errors import RunFailedError, first_line, more_memory, out_of_memory
from abd_app.teacher import Finding

Result = TypeVar("Result")


class Microbatches:
    """Runs a pass over a batch in microbatches, each process over its own slice.

    The first pass is measured: its peak memory on 8 and on 16 images gives the memory of an image, and the free memory
    how many images go at a time. When memory runs out all the same they are halved and the batch begins again.

    Args:
        compute: Device.
        who: What the findings call the network that runs.
        caveat: What the findings say about a smaller portion.
        reserved_bytes: What will be needed beside the pass itself and is not there yet.
        fewest: Images below which a portion is not cut.
        memory: Of the device; ``None``: its own (:func:`memory_of`).

    Attributes:
        most: Images at a time; ``None``: all.
    """

    def __init__(
        self,
        compute: Compute,
        who: str,
        caveat: str,
        *,
        reserved_bytes: int = 0,
        fewest: int = 1,
        memory: Memory | None = None,
    ) -> None:
        self.most: int | None = None
        self._who, self._caveat = who, caveat
        self._reserved_bytes, self._fewest = reserved_bytes, fewest
        self._device = compute.device
        self._memory = memory_of(compute.device) if memory is None else memory
        self._measured = self._memory is None
        self._findings: list[Finding] = []

    def over(
        self, count: int, run: Callable[[slice], Result], undo: Callable[[], object] = lambda: None
    ) -> list[Result]:
        """What ``run`` gives for consecutive parts of this process's slice of ``count`` images.

        Args:
            count: Images of the batch.
            run: One pass; must leave nothing behind that ``undo`` does not take back.
            undo: Called before the batch begins again.

        Raises:
            RunFailedError: The smallest portion is too large for the memory, or one of several processes has run out.
        """
        _, longest = parallel.sizes_of_slices(count)
        if self._memory is not None and not self._measured:
            self._measured = True
            self._measure(self._memory, count, run, undo)
        while True:
            try:
                return [run(part) for part in self._parts(count)]
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._halve(longest, error)
            # Only here, where the error is gone, is what its frames held free.
            undo()
            release_memory(self._device)

    def restore(self, most: int | None) -> None:
        """Goes on with as many images at a time as an earlier part of the run found out; if fewer, without a trial."""
        self.most, self._measured = most, self._measured or most is not None

    def measure_again(self) -> None:
        """From now on a pass takes more: the next one is preceded by a trial, which makes no portion larger."""
        self._measured = self._memory is None

    def say(self, finding: Finding) -> None:
        """Adds what a reader should know of memory elsewhere."""
        self._findings.append(finding)

    def findings(self) -> Iterator[Finding]:
        """What a reader should know, each once."""
        while self._findings:
            yield self._findings.pop(0)

    def _parts(self, count: int) -> list[slice]:
        """Of this process's slice: as many in each process, so that they meet in every one."""
        own, (shortest, longest) = parallel.own_slice(count), parallel.sizes_of_slices(count)
        pieces = pieces_of(longest, self.most, self._fewest, shortest=shortest)
        edges = [own.start + (own.stop - own.start) * piece // pieces for piece in range(pieces + 1)]
        return [slice(*pair) for pair in itertools.pairwise(edges)]

    def _halve(self, count: int, error: RuntimeError) -> None:
        refuse_alone(error)
        before = min(count, self.most or count)
        if before <= self._fewest:
            raise RunFailedError(
                f"The device has too little memory for {before} images at a time.",
                why=first_line(error),
                remedy=more_memory(error),
            ) from error
        self.most = max(self._fewest, before // 2)
        self._note("Memory ran out: ")

    def _measure(self, memory: Memory, count: int, run: Callable[[slice], Result], undo: Callable[[], object]) -> None:
        start, (_, longest) = parallel.own_slice(count).start, parallel.sizes_of_slices(count)

        def attempt(images: int) -> None:
            run(slice(start, start + images))

        fitting = measured_portion(memory, longest, attempt, undo, reserved_bytes=self._reserved_bytes)
        if fitting < (self.most or longest):
            self.most = max(self._fewest, fitting)
            self._note("Measured before the first step: ")

    def _note(self, cause: str) -> None:
        title = f"{self._who} {self.most} image{'s' if self.most != 1 else ''} at a time"
        self._findings.append(Finding("info", title, f"{cause}a whole batch does not fit the memory. {self._caveat}"))


def pieces_of(count: int, most: int | None, fewest: int, *, shortest: int | None = None) -> int:
    """In how many equal parts to take images: none of more than the most if that leaves none with less than the fewest.

    Args:
        count: Images of all parts.
        most: ``None``: any number.
        fewest: A whole of fewer is one part.
        shortest: Images of all parts in the process that has the fewest; ``None``: ``count``.
    """
    return 1 if most is None else max(1, min(-(-count // most), (shortest or count) // fewest))

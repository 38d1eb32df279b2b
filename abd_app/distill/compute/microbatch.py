"""As many images at a time as memory holds: measured before the first step, halved when memory runs out."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import torch

from abd_app.distill.compute import parallel
from abd_app.distill.compute.device import Compute
from abd_app.errors import RunFailedError, first_line, out_of_memory
from abd_app.teacher import Finding

Result = TypeVar("Result")

_TRIAL = (8, 16)
"""Images of the two passes by which memory is measured."""
_USED = 0.85
"""Share of the free memory that is counted on: an allocator does not fill every gap."""


class Memory(Protocol):
    """What can be known of a device's memory."""

    def peak_bytes(self, run: Callable[[], object]) -> int:
        """How far memory rises above what is in use while ``run`` runs."""

    def free_bytes(self) -> int:
        """What is left."""


class CudaMemory:
    """The memory of a CUDA device. Random numbers drawn in a trial do not count.

    Args:
        device: The device.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def peak_bytes(self, run: Callable[[], object]) -> int:
        """As allocated by PyTorch; the device's peak statistics begin anew."""
        torch.cuda.synchronize(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        with torch.random.fork_rng([torch.cuda.current_device()]):
            run()
        torch.cuda.synchronize(self._device)
        return torch.cuda.max_memory_allocated(self._device) - before

    def free_bytes(self) -> int:
        """What the driver says, after PyTorch's unused blocks have been given back to it."""
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info(self._device)[0]


class Microbatches:
    """Runs a pass over a batch in microbatches, each process over its own slice.

    On a CUDA device the first pass is measured: its peak memory on 8 and on 16 images gives the memory of an image, and
    the free memory how many images go at a time. When memory runs out all the same, on any device, they are halved
    and the batch begins again.

    Args:
        compute: Device.
        who: What the findings call the network that runs.
        caveat: What the findings say about a smaller portion.
        reserved_bytes: What will be needed beside the pass itself and is not there yet.
        fewest: Images below which a portion is not cut.
        memory: Of the device; ``None``: a CUDA device's own, and on others nothing is measured.

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
        self._memory = CudaMemory(compute.device) if memory is None and compute.device.type == "cuda" else memory
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
        own = parallel.own_slice(count)
        if self._memory is not None and not self._measured:
            self._measured = True
            self._measure(self._memory, own, run, undo)
        while True:
            try:
                return [run(part) for part in self._parts(own)]
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._halve(own.stop - own.start, error)
            # Only here, where the error is gone, is what its frames held free.
            undo()
            if self._device.type == "cuda":
                torch.cuda.empty_cache()

    def restore(self, most: int | None) -> None:
        """Goes on with as many images at a time as an earlier part of the run found out; if fewer, without a trial."""
        self.most, self._measured = most, self._measured or most is not None

    def findings(self) -> Iterator[Finding]:
        """What a reader should know, each once."""
        while self._findings:
            yield self._findings.pop(0)

    def _parts(self, own: slice) -> list[slice]:
        """Consecutive parts of nearly one size, none larger than the most if none becomes smaller than the fewest."""
        count = own.stop - own.start
        pieces = 1 if self.most is None else max(1, min(-(-count // self.most), count // self._fewest))
        edges = [own.start + count * piece // pieces for piece in range(pieces + 1)]
        return [slice(*pair) for pair in itertools.pairwise(edges)]

    def _halve(self, count: int, error: RuntimeError) -> None:
        self._refuse_alone(error)
        before = min(count, self.most or count)
        if before <= self._fewest:
            raise RunFailedError(
                f"The device has too little memory for {before} images at a time.",
                why=first_line(error),
                remedy="Close other programs on this device, choose a smaller student, or run on the CPU.",
            ) from error
        self.most = max(self._fewest, before // 2)
        self._note("Memory ran out: ")

    def _refuse_alone(self, error: RuntimeError) -> None:
        """Of several processes that wait for each other none can go on with smaller ones by itself."""
        if parallel.world_size() > 1:
            raise RunFailedError(
                "A device ran out of memory.",
                why=first_line(error),
                remedy="Start more processes on more GPUs, choose a smaller student, or run in one process: that one "
                "goes on with smaller portions.",
            ) from error

    def _measure(self, memory: Memory, own: slice, run: Callable[[slice], Result], undo: Callable[[], object]) -> None:
        count = own.stop - own.start
        if count <= _TRIAL[1]:
            return
        peaks = list[int]()
        for images in _TRIAL:
            part = slice(own.start, own.start + images)
            try:
                peaks.append(memory.peak_bytes(functools.partial(run, part)))
            except RuntimeError as error:
                if not out_of_memory(error):
                    raise
                self._refuse_alone(error)
            undo()
        fitting = parallel.all_reduce_min(images_that_fit(memory.free_bytes() - self._reserved_bytes, peaks))
        if fitting < (self.most or count):
            self.most = max(self._fewest, fitting)
            self._note("Measured before the first step: ")

    def _note(self, cause: str) -> None:
        title = f"{self._who} {self.most} image{'s' if self.most != 1 else ''} at a time"
        self._findings.append(Finding("info", title, f"{cause}a whole batch does not fit the memory. {self._caveat}"))


def images_that_fit(free_bytes: int, peaks: Sequence[int]) -> int:
    """How many images a pass can take, by a straight line through its peaks on 8 and on 16; at least 1.

    Args:
        free_bytes: What the device has left.
        peaks: In bytes; of the passes that did not run out of memory.
    """
    if len(peaks) < len(_TRIAL):
        return _TRIAL[0] if peaks else 1
    of_image = max(1.0, (peaks[1] - peaks[0]) / (_TRIAL[1] - _TRIAL[0]))
    fixed = max(0.0, peaks[0] - of_image * _TRIAL[0])
    return max(1, int((_USED * free_bytes - fixed) / of_image))

"""What memory a device has, what a pass takes of it, and how many images fit."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import torch

from abd_app.distill.compute import parallel
from abd_app.errors import RunFailedError, first_line, out_of_memory
from abd_app.memory import (
    available_bytes,
    can_measure_peaks,
    forget_peak,
    give_back,
    peak_resident_bytes,
    resident_bytes,
)

_TRIAL = (8, 16)
"""Images of the two passes by which memory is measured."""
_USED = 0.85
"""Share of the free memory that is counted on: an allocator does not fill every gap."""

_SHARE_OF_THE_HOST = 0.75
"""Of what the machine has left. What is freed goes back in part only: a step has taken a third more than its trial."""


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


class HostMemory:
    """The machine's memory, as Linux counts what of it this process has. Random numbers of a trial do not count."""

    def peak_bytes(self, run: Callable[[], object]) -> int:
        """As resident; the process's own peak begins anew. What stays of a pass, as gradients do, is no part of it."""
        with torch.random.fork_rng([]):
            run()
            give_back()
            forget_peak()
            before = resident_bytes()
            run()
        return max(0, peak_resident_bytes() - before)

    def free_bytes(self) -> int:
        """This process's share of most of what programs can have without swapping: others want some, too."""
        give_back()
        return int(_SHARE_OF_THE_HOST * (available_bytes() or 0)) // parallel.processes_here()


def memory_of(device: torch.device) -> Memory | None:
    """What can be known of a device's memory; ``None``: nothing, as of a CPU's on systems other than Linux."""
    if device.type == "cuda":
        return CudaMemory(device)
    return HostMemory() if can_measure_peaks() and available_bytes() is not None else None


def measured_portion(
    memory: Memory,
    count: int,
    run: Callable[[int], object],
    undo: Callable[[], object] = lambda: None,
    *,
    reserved_bytes: int = 0,
) -> int:
    """How many images, ``count`` at most, a pass can take at a time in all processes; of up to 16, all.

    Args:
        memory: Of the device.
        count: Images of a whole pass, in each process as many.
        run: A pass over as many images as it is told.
        undo: Takes back what a pass leaves behind.
        reserved_bytes: What will be needed beside the pass and is not there yet.

    Raises:
        RunFailedError: One of several processes has run out of memory.
    """
    if count <= _TRIAL[1]:
        return count
    peaks = list[int]()
    for images in _TRIAL:
        try:
            peaks.append(memory.peak_bytes(functools.partial(run, images)))
        except RuntimeError as error:
            if not out_of_memory(error):
                raise
            refuse_alone(error)
        undo()
    return min(count, parallel.all_reduce_min(images_that_fit(memory.free_bytes() - reserved_bytes, peaks)))


def refuse_alone(error: RuntimeError) -> None:
    """Of several processes that wait for each other none can go on with smaller ones by itself."""
    if parallel.world_size() > 1:
        raise RunFailedError(
            "A device ran out of memory.",
            why=first_line(error),
            remedy="Start more processes on more GPUs, choose a smaller student, or run in one process: that one "
            "goes on with smaller portions.",
        ) from error


def release_memory(device: torch.device) -> None:
    """Gives back what was freed and is kept for later, after memory ran out."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        give_back()


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

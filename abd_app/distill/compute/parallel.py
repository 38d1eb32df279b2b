"""Several processes, one student: each learns from its slice of every batch, and all of them stay the same.

torchrun starts the processes, ``audit.together`` joins them; with one process nothing here does anything. Data-parallel
training as in Goyal et al. ("Accurate, Large Minibatch SGD", 2017), with the batch of one process cut into slices
instead of one batch each: the loss of a slice is its share of the batch's mean, gradients are added up, and BatchNorm
normalises by the whole batch (:mod:`abd_app.distill.compute.shared_batchnorm`).

Whatever is not split is done by every process alike, from the same seeds: the images, the steps of generators, the
vaccine's check, the optimisers. What a process decides upon is computed in the same way by
all of them or gathered from all, so that no one goes another way than the others and waits for them in vain.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence

import torch
from torch import distributed

from abd_app.errors import RunFailedError, first_line, out_of_memory

_DRIFT = 1e-3
"""Of the mean of a batch's pixels, in [0, 1]: what rounding explains is a thousand times less."""


def world_size() -> int:
    """How many processes learn together; 1 if this one is alone."""
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def is_main_process() -> bool:
    """Whether this process is the one that measures, writes and speaks."""
    return world_size() == 1 or distributed.get_rank() == 0


def processes_here() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if world_size() > 1 else 1


def own_slice(count: int) -> slice:
    """The part of ``count`` images that is this process's; parts differ by one image at most.

    Fewer images than processes are not split: each process has them all.
    """
    if world_size() == 1 or count < world_size():
        return slice(0, count)
    rank, size = distributed.get_rank(), world_size()
    return slice(count * rank // size, count * (rank + 1) // size)


def all_reduce_sum(tensors: Sequence[torch.Tensor]) -> None:
    """Replaces tensors of one type and device by their sums over all processes, in one message."""
    if world_size() == 1 or not tensors:
        return
    message = torch.cat([tensor.reshape(-1) for tensor in tensors])
    with _talking():
        distributed.all_reduce(message)
    for tensor, total in zip(tensors, message.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(total.view_as(tensor))


def all_reduce_mean(tensors: Sequence[torch.Tensor]) -> None:
    """Replaces what every process has computed alike by the mean: on a GPU backward passes differ in the last bits."""
    if world_size() == 1:
        return
    all_reduce_sum(tensors)
    for tensor in tensors:
        tensor.div_(world_size())


def all_gather(rows: torch.Tensor, count: int) -> torch.Tensor:
    """The ``(count, ...)`` rows of all processes, each of which has those of :func:`own_slice`."""
    if world_size() == 1 or count < world_size():
        return rows
    size, message = world_size(), rows.contiguous()
    message = message.to(torch.uint8) if rows.dtype == torch.bool else message
    longest = -(-count // size)
    padded = torch.cat([message, message.new_zeros(longest - len(message), *message.shape[1:])])
    received = [torch.empty_like(padded) for _ in range(size)]
    with _talking():
        distributed.all_gather(received, padded)
    lengths = [count * (rank + 1) // size - count * rank // size for rank in range(size)]
    parts = [part[:length] for part, length in zip(received, lengths, strict=True)]
    return torch.cat(parts).to(rows.dtype)


def sizes_of_slices(count: int) -> tuple[int, int]:
    """The images of the shortest and of the longest :func:`own_slice` of any process."""
    size = world_size()
    return (count, count) if count < size else (count // size, -(-count // size))


def all_reduce_min(number: int) -> int:
    """The smallest of the processes' numbers."""
    if world_size() == 1:
        return number
    message = torch.tensor([number])
    with _talking():
        distributed.all_reduce(message, distributed.ReduceOp.MIN)
    return int(message)


def barrier() -> None:
    """Returns once all processes have come here."""
    all_reduce_min(0)


def check_same(images: torch.Tensor) -> None:
    """Makes sure that all processes are about to learn from the same batch.

    Raises:
        RunFailedError: They have drifted apart.
    """
    if world_size() == 1:
        return
    mean = images.float().mean().cpu()
    span = torch.stack([mean, -mean])
    with _talking():
        distributed.all_reduce(span, distributed.ReduceOp.MAX)
    if not float(span.sum()) < _DRIFT:
        raise RunFailedError(
            "The processes of this run no longer see the same images.",
            why="Their devices or libraries do not compute alike.",
            remedy="Use GPUs of one kind with the same software, or run in one process.",
        )


@contextlib.contextmanager
def _talking() -> Iterator[None]:
    """Turns what a broken connection raises into a message; running out of memory stays what it is."""
    try:
        yield
    except RuntimeError as error:
        if out_of_memory(error):
            raise
        raise RunFailedError(
            "Another process of this run has ended.",
            why=first_line(error)[:200],
            remedy="Its own message, or the system's log, says why; --resume continues from the last checkpoint.",
        ) from error

"""Passes that a GPU replays: recorded once as a CUDA graph, then started by a single call.

The kernels of a small network run for microseconds, and starting them one by one takes longer than running them. What
is recorded must be free of waits for the host, must have inputs of one shape, and may read and write only those inputs
and tensors that stay where they are: weights and states of optimisers. So optimisers that take part keep rate and count
of steps on the device (:mod:`abd_app.distill.compute.optimizers`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch

from abd_app.distill.compute import parallel
from abd_app.distill.compute.device import Compute
from abd_app.errors import first_line

WARM_UPS = 2
_VALUES_ANYWHERE, _MOST_VALUES = 2**21, 2**23
"""Of a pass's inputs: the most that any GPU records, and those beyond which a large one is kept busy anyway."""
_BYTES_A_VALUE = 2**12
"""A recording holds on to the memory that it needs: in between, a GPU is to have as much for each value."""

_log = logging.getLogger(__name__)


class RecordedPass:
    """Runs a pass as it is, and on a GPU from the third time on as a recorded CUDA graph: the same kernels.

    The first two runs are steps like any other. A pass is not recorded where there are several processes, for other
    shapes than the first time, where it waits for the host, or where memory does not hold the recording.

    Args:
        run: Of tensors on the device; returns tensors.
        compute: Device.
        allowed: ``False``: never record, as where a network of others may wait for the host in its pass.
    """

    def __init__(self, run: Callable[..., Sequence[torch.Tensor]], compute: Compute, *, allowed: bool = True) -> None:
        self._run = run
        self._allowed = allowed and compute.device.type == "cuda"
        self._runs = 0
        self._shapes: tuple[torch.Size, ...] = ()
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: tuple[torch.Tensor, ...] = ()
        self._outputs: Sequence[torch.Tensor] = ()

    def __call__(self, *inputs: torch.Tensor) -> Sequence[torch.Tensor]:
        """What the pass gives for ``inputs``, to be used before the next call."""
        replayed = self.replay(*inputs)
        return self._run(*inputs) if replayed is None else replayed

    def replay(self, *inputs: torch.Tensor) -> Sequence[torch.Tensor] | None:
        """The same by the recording, to be used before the next call; ``None`` where the caller is to run the pass."""
        if not self._suits(inputs):
            return None
        if self._graph is None:
            self._runs += 1
            if self._runs <= WARM_UPS or not self._record(inputs):
                return None
        assert self._graph is not None
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._graph.replay()
        return self._outputs

    def forget(self) -> None:
        """Gives back the memory that the recording holds; the pass is recorded anew when it is asked for again."""
        self._graph, self._runs, self._inputs, self._outputs = None, 0, (), ()

    def _suits(self, inputs: tuple[torch.Tensor, ...]) -> bool:
        if not self._allowed or parallel.world_size() > 1:
            return False
        shapes = tuple(one.shape for one in inputs)
        if not self._runs:
            self._shapes = shapes
        return shapes == self._shapes and small(*inputs)

    def _record(self, inputs: tuple[torch.Tensor, ...]) -> bool:
        """Records the pass; nothing is computed yet."""
        self._inputs = tuple(one.detach().clone() for one in inputs)
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            # Other threads may go on using the device.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._outputs = self._run(*self._inputs)
        except RuntimeError as error:  # out of memory included
            self._allowed, self._inputs = False, ()
            _abandon(stream)
            _log.warning("A pass is not recorded as a CUDA graph: %s", first_line(error))
            return False
        self._graph = graph
        return True


def _abandon(stream: torch.cuda.Stream) -> None:
    """Takes back what a recording that failed leaves behind (seen in PyTorch 2.11).

    That is its own stream, and a generator that waits to be replayed and refuses to draw another number: it goes on
    with a fresh state of the same seed and place.
    """
    torch.cuda.set_stream(stream)
    generator = torch.cuda.default_generators[torch.cuda.current_device()]
    state = generator.get_state()
    try:
        torch.rand(1, device=generator.device)
        generator.set_state(state)
    except RuntimeError:
        fresh = torch.Generator(generator.device)
        fresh.set_state(state)
        generator.graphsafe_set_state(fresh.graphsafe_get_state())


def runs_to_warm_up(compute: Compute) -> int:
    """After so many runs a pass costs what it goes on to cost: one, or on a GPU those until it is replayed."""
    return 1 + WARM_UPS if compute.device.type == "cuda" else 1


def small(*inputs: torch.Tensor) -> bool:
    """Whether a pass over these inputs is short enough for its recording to be worth the memory."""
    values = sum(one.numel() for one in inputs)
    if values <= _VALUES_ANYWHERE or not inputs[0].is_cuda:
        return values <= _VALUES_ANYWHERE
    memory = torch.cuda.get_device_properties(inputs[0].device).total_memory
    return values <= min(_MOST_VALUES, memory // _BYTES_A_VALUE)

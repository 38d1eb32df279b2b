"""Seconds and bytes."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

import torch

from abd_app.distill.compute.device import Compute
from abd_app.memory import can_measure_peaks, forget_peak, peak_resident_bytes


def seconds(compute: Compute, run: Callable[[], object]) -> float:
    """Wall time of ``run``, the device waited for before and after."""
    compute.synchronize()
    started = time.perf_counter()
    run()
    compute.synchronize()
    return time.perf_counter() - started


def forget_peak_memory(compute: Compute) -> None:
    """Lets the next :func:`peak_memory_mb` tell of what comes from now on."""
    gc.collect()
    if compute.device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(compute.device)
    else:
        forget_peak()


def peak_memory_mb(compute: Compute) -> float | None:
    """Most memory used since: allocated by PyTorch on the GPU, or resident in the process (Linux; else ``None``)."""
    if compute.device.type == "cuda":
        return torch.cuda.max_memory_allocated(compute.device) / 2**20
    return peak_resident_bytes() / 2**20 if can_measure_peaks() else None

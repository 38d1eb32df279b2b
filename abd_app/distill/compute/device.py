"""Where and in which precision the engine computes."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from abd_app.errors import UsageError

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Compute:
    """A device and a precision.

    Attributes:
        device: Where tensors live.
        bf16: Whether matrix work runs in bfloat16; losses, BatchNorm statistics and weights stay float32.
    """

    device: torch.device
    bf16: bool

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which networks run."""
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    def place(self, network: Network) -> Network:
        """Moves a network here, in the memory format that convolutions like best."""
        return network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def images(self, images: torch.Tensor) -> torch.Tensor:
        """Moves images ``(N, C, H, W)`` here, in the memory format that convolutions like best."""
        return images.to(self.device, memory_format=torch.channels_last)

    def synchronize(self) -> None:
        """Waits until the device has done what it was asked for; a time taken before that means nothing."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    @property
    def precision(self) -> str:
        """``bf16`` or ``fp32``."""
        return "bf16" if self.bf16 else "fp32"


def sent(drawn: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Something that was drawn on the CPU, on ``device``. A GPU that is still at work is not waited for.

    Up to some 64 KiB: the driver may wait with more. Memory that is not pinned is copied aside before the call returns.

    Raises:
        RuntimeError: A pass is being recorded, which would read the same, long gone memory in each replay.
    """
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        raise RuntimeError("What is drawn on the CPU cannot be recorded.")
    return drawn.to(device, non_blocking=True)


def choose_compute(device: str, precision: str) -> Compute:
    """Resolves ``auto``: a CUDA device if there is one, bfloat16 where the device is fast in it.

    Raises:
        UsageError: CUDA was asked for and is not there.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError(
            "No CUDA device can be used.",
            where="--device cuda",
            why="PyTorch sees no NVIDIA GPU with a working driver.",
            remedy="Use --device auto or cpu, or install the driver.",
        )
    name = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    bf16 = _fast_in_bf16(name) if precision == "auto" else precision == "bf16"
    return Compute(torch.device(name), bf16)


def _fast_in_bf16(name: str) -> bool:
    if name == "cuda":
        return torch.cuda.get_device_capability()[0] >= 8
    # Emulated bfloat16 is slower than float32; only AVX512-BF16 and AMX have it in hardware.
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def device_name(device: torch.device) -> str:
    """The device as its maker calls it; ``CPU`` with the number of threads otherwise."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    threads = torch.get_num_threads()
    return f"CPU, {threads} thread{'s' * (threads != 1)}"

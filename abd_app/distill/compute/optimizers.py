"""Optimisers whose steps a GPU can replay (:mod:`abd_app.distill.compute.recorded`), and what they must be given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import torch

from abd_app.distill.compute.device import Compute


class HasGroups(Protocol):
    """What has groups of parameters, each with a learning rate."""

    @property
    def param_groups(self) -> list[dict[str, Any]]: ...


def make_adam(
    parameters: Iterable[torch.Tensor], rate: float, compute: Compute, *, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Fused Adam whose steps can be recorded, on the device of ``compute``, where the parameters live."""
    on_gpu = compute.device.type == "cuda"
    return torch.optim.Adam(parameters, make_rate(rate, compute), betas=betas, fused=True, capturable=on_gpu)


def make_rate(rate: float, compute: Compute) -> float | torch.Tensor:
    """A learning rate for an optimiser whose steps can be recorded."""
    return torch.tensor(rate, device=compute.device) if compute.device.type == "cuda" else rate


def set_rate(optimizer: HasGroups, rate: float) -> None:
    """Changes the learning rate, in place where a recording may read it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def restore_optimizer(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> None:
    """Loads what was saved, perhaps on another kind of device; all parameters have one learning rate."""
    own: list[dict[str, Any]] = [
        {key: group[key] for key in ("lr", "capturable") if key in group} for group in optimizer.param_groups
    ]
    optimizer.load_state_dict(state)
    rate = float(optimizer.param_groups[0]["lr"])
    for group, kept in zip(optimizer.param_groups, own, strict=True):
        group.update(kept)
    set_rate(optimizer, rate)


def give_gradients(parameters: Sequence[torch.Tensor], gradients: Sequence[torch.Tensor]) -> None:
    """Sets ``.grad`` of each parameter, in its own memory layout.

    ``torch.autograd.grad`` gives gradients as they come. A fused optimiser on a CPU reads those of another layout in
    the wrong order, without a word; on a GPU it refuses them.
    """
    for parameter, gradient in zip(parameters, gradients, strict=True):
        same = gradient.stride() == parameter.stride()
        parameter.grad = gradient if same else torch.empty_like(parameter).copy_(gradient)

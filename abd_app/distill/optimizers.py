"""Optimisers whose steps a GPU can replay (:mod:`abd_app.distill.recorded`), and what they must be given."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from abd_app.distill.device import Compute

_MOST_IMAGE_CHANNELS = 3


def make_adam(
    parameters: Iterable[torch.Tensor], rate: float, compute: Compute, *, betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Adam:
    """Fused Adam whose steps can be recorded, on the device of ``compute``, where the parameters live."""
    on_gpu = compute.device.type == "cuda"
    return torch.optim.Adam(parameters, make_rate(rate, compute), betas=betas, fused=True, capturable=on_gpu)


class MuonAdam:
    """Muon for the weights of convolutions that mix many channels, Adam for all others: a student's optimiser.

    Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) takes the orthogonal matrix
    nearest to the momentum as its step, so that all directions of a weight learn as fast. PyTorch's own gives the
    direction: it steps from 0 with a rate of 1, because its rate is read on the host, which a recording must not do.
    Its step has an RMS of 0.2 (Liu et al., "Muon is Scalable for LLM Training", 2025), which is about Adam's;
    ``times`` is how many times further Muon goes.

    Args:
        parameters: Of one network, of both kinds.
        rate: Adam's learning rate.
        compute: Device, where the parameters live.
        times: Muon's rate as a multiple of Adam's.
    """

    def __init__(self, parameters: Iterable[torch.Tensor], rate: float, compute: Compute, *, times: float) -> None:
        parameters = list(parameters)
        mixing = [one for one in parameters if mixes_channels(one)]
        others = [one for one in parameters if not mixes_channels(one)]
        self._mixing, self._times, self._adam = mixing, times, make_adam(others, rate, compute)
        self._steps = [torch.zeros_like(one.flatten(1), memory_format=torch.contiguous_format) for one in mixing]
        self._muon = torch.optim.Muon(self._steps, 1.0, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Adam's, whose rate is that of both."""
        return self._adam.param_groups

    @torch.no_grad()
    def step(self) -> None:
        """One step with the gradients that the parameters have."""
        for step, parameter in zip(self._steps, self._mixing, strict=True):
            assert parameter.grad is not None
            step.zero_()
            step.grad = parameter.grad.flatten(1)
        self._muon.step()
        rate = self._times * self.param_groups[0]["lr"]
        for step, parameter in zip(self._steps, self._mixing, strict=True):
            parameter.add_(step.view_as(parameter) * rate)
        self._adam.step()

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        self._adam.zero_grad()
        for parameter in self._mixing:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Momenta, counts and rates of both."""
        return {"adam": self._adam.state_dict(), "muon": self._muon.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Loads :meth:`state_dict`, perhaps of another kind of device; of an Adam of earlier versions nothing."""
        if "muon" not in state:
            return
        restore_optimizer(self._adam, state["adam"])
        self._muon.load_state_dict(state["muon"])


def mixes_channels(parameter: torch.Tensor) -> bool:
    """Whether it is the weight of a convolution whose outputs each depend on more channels than an image has."""
    return parameter.dim() == 4 and parameter.shape[1] > _MOST_IMAGE_CHANNELS


def make_rate(rate: float, compute: Compute) -> float | torch.Tensor:
    """A learning rate for an optimiser whose steps can be recorded."""
    return torch.tensor(rate, device=compute.device) if compute.device.type == "cuda" else rate


def set_rate(optimizer: torch.optim.Optimizer | MuonAdam, rate: float) -> None:
    """Changes the learning rate, in place where a recording may read it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def restore_optimizer(optimizer: torch.optim.Optimizer | MuonAdam, state: dict[str, Any]) -> None:
    """Loads what was saved, perhaps on another kind of device; all parameters have one learning rate."""
    if isinstance(optimizer, MuonAdam):
        return optimizer.restore(state)
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

"""Muon, the optimiser of a student's inner convolutions, with Adam for its other weights."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.optimizers import make_adam, make_rate, restore_optimizer

_MOMENTUM, _UPDATE_RMS = 0.95, 0.2
_ITERATIONS, _COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)
_MOST_IMAGE_CHANNELS = 3


class MuonAdam:
    """Muon for convolutions inside a network, Adam for all other weights.

    Args:
        network: Its weights, on the device of ``compute``, are optimised where they require gradients.
        rate: Adam's learning rate.
        compute: Device and precision.
        factor: Muon's learning rate as a multiple of Adam's.
    """

    def __init__(self, network: nn.Module, rate: float, compute: Compute, *, factor: float) -> None:
        inner = [weight for weight in inner_convolutions(network) if weight.requires_grad]
        chosen = {id(weight) for weight in inner}
        others = [one for one in network.parameters() if one.requires_grad and id(one) not in chosen]
        self._parts = {"muon": Muon(inner, rate, compute, factor=factor), "adam": make_adam(others, rate, compute)}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of both; all have one learning rate."""
        return [group for part in self._parts.values() for group in part.param_groups]

    def step(self) -> None:
        """One step with the gradients that the parameters have."""
        for part in self._parts.values():
            part.step()

    def zero_grad(self) -> None:
        """Forgets the gradients."""
        for part in self._parts.values():
            part.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Momenta, counts and rates of both."""
        return {name: part.state_dict() for name, part in self._parts.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Loads :meth:`state_dict`, perhaps of another kind of device; of the Adam of earlier versions nothing."""
        if state.keys() == self._parts.keys():
            for name, part in self._parts.items():
                restore_optimizer(part, state[name])


class Muon(torch.optim.Optimizer):
    """Momentum whose update is made about orthogonal: a weight changes by as much in every direction.

    Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024: Nesterov momentum 0.95, then five
    Newton-Schulz iterations, which bring all singular values near 1. A kernel is a matrix of (output channels, all
    else). Updates are scaled to an RMS of 0.2 of the rate (Liu et al., "Muon is Scalable for LLM Training", 2025).
    There is no weight decay. Unlike PyTorch's own it takes all weights of one shape at once, iterates in the precision
    of ``compute`` and keeps its rate on the device, so that a GPU can replay its steps. On two CPU cores a step of a
    WRN-16-1 took 8 ms in bfloat16 and 5 in float32, where PyTorch's took 11 in the same run.

    Args:
        weights: Of convolutions, ``(O, I, H, W)``.
        rate: Learning rate.
        compute: Device and precision.
        factor: What updates are multiplied with.
    """

    def __init__(self, weights: list[torch.Tensor], rate: float, compute: Compute, *, factor: float) -> None:
        super().__init__(weights, {"lr": make_rate(rate, compute)})
        self._factor, self._precision = factor, torch.bfloat16 if compute.bf16 else torch.float32

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """One step for every weight that has a gradient."""
        (group,) = self.param_groups
        shapes: dict[torch.Size, list[torch.Tensor]] = {}
        for weight in group["params"]:
            if weight.grad is not None:
                shapes.setdefault(weight.shape, []).append(weight)
        for shape, weights in shapes.items():
            gradients = [one.grad for one in weights if one.grad is not None]
            momenta = [self._momentum(one) for one in weights]
            torch._foreach_lerp_(momenta, gradients, 1 - _MOMENTUM)
            ahead = torch._foreach_lerp(gradients, momenta, _MOMENTUM)
            updates = orthogonalised(torch.stack([one.flatten(1) for one in ahead]).to(self._precision)).float()
            scale = self._factor * _UPDATE_RMS * math.sqrt(max(updates.shape[1:]))
            updates.mul_(-scale * group["lr"])
            torch._foreach_add_(weights, [one.view(shape) for one in updates])

    def _momentum(self, weight: torch.Tensor) -> torch.Tensor:
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum: torch.Tensor = state["momentum"]
        return momentum


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """``(M, rows, columns)`` matrices with the same singular vectors, and singular values near 1: 0.7 to 1.2."""
    if matrices.shape[1] > matrices.shape[2]:
        return orthogonalised(matrices.mT).mT
    first, third, fifth = _COEFFICIENTS
    turned: torch.Tensor = matrices / matrices.flatten(1).norm(dim=1).clamp_min(1e-7)[:, None, None]
    for _ in range(_ITERATIONS):
        gram = turned @ turned.mT
        turned = torch.baddbmm(turned, torch.baddbmm(gram, gram, gram, beta=third, alpha=fifth), turned, beta=first)
    return turned


def inner_convolutions(network: nn.Module) -> list[torch.Tensor]:
    """Weights of convolutions whose outputs each depend on all inputs, and on more than an image has channels."""
    return [
        module.weight
        for module in network.modules()
        if isinstance(module, nn.Conv2d) and module.groups == 1 and module.in_channels > _MOST_IMAGE_CHANNELS
    ]

"""OTBR: no data, no training. Prunes what noise unlearns first, and fuses the result with the poisoned network.

W. Lin, L. Liu, J. Li, H. Xiong, "Fusing Pruned and Backdoored Models: Optimal Transport-based Data-free Backdoor
Mitigation", AAAI 2025, arXiv 2408.15861. The steps are those of the authors' code; the values that it reads from a
file of options (rate, batch and number of steps of unlearning, weight of the fusion) are not in it, so that those here
are ours.
"""

from __future__ import annotations

import copy

import numpy as np
import ot
import torch
import torch.nn.functional as F
from torch import nn

GAMMAS = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
"""The shares of all neurons that the authors prune, each of which they report."""
_LEAST_MASS = 1e-12

Changes = dict[str, torch.Tensor]


def weight_changes(
    network: nn.Module,
    *,
    num_classes: int,
    shape: tuple[int, ...],
    seed: int,
    steps: int = 20,
    batch: int = 256,
    rate: float = 0.01,
) -> Changes:
    """How far each neuron (output channel of a convolution) moves while random labels of noise are unlearned.

    A copy in training mode climbs the cross-entropy of uniform noise with uniform labels, by SGD with momentum 0.9.
    Deviation: labels are drawn from all classes; the authors' code never draws the last two.

    Args:
        network: Takes pixels in [0, 1]; is not changed.
        num_classes: Of its logits; images are of ``shape`` (C, H, W).
        seed: Of noise and labels, of ``steps`` steps with ``batch`` images each and the learning rate ``rate``.

    Returns:
        By the convolution's name, ``(K,)``: the summed absolute changes of each kernel. Shortcuts are left out.
    """
    moved = copy.deepcopy(network).train().requires_grad_(True)
    device = next(moved.parameters()).device
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.SGD(moved.parameters(), rate, momentum=0.9)
    for _ in range(steps):
        images = torch.rand(batch, *shape, generator=random).to(device)
        labels = torch.randint(num_classes, (batch,), generator=random).to(device)
        optimizer.zero_grad()
        (-F.cross_entropy(moved(images), labels)).backward()
        optimizer.step()
    changes = {
        name: (moved.get_submodule(name).weight - network.get_submodule(name).weight).detach().abs().flatten(1).sum(1)
        for name in _convolutions(network)
    }
    if not all(bool(change.isfinite().all()) for change in changes.values()):
        raise SystemExit("OTBR cannot act: unlearning noise came to weights that are no numbers.")
    return changes


def repaired(network: nn.Module, changes: Changes, *, gamma: float, fusion: float = 0.5) -> tuple[nn.Module, nn.Module]:
    """The pruned network, and the one that is fused of it and ``network``; both are copies.

    The ``gamma`` neurons with the largest changes get kernels of zeros. From the first layer on that has such a neuron,
    each kernel becomes ``fusion * aligned + (1 - fusion) * own``: the pruned layer's neurons are carried to the
    poisoned one's by the optimal transport that costs least, where a neuron of the pruned layer has the same mass as
    any other and one of the poisoned layer a mass in proportion to its change. Inputs are carried as the outputs of
    the convolution before were; where that has another number of channels, they stay as they are.

    Args:
        network: In evaluation mode.
        changes: Of :func:`weight_changes`.
        gamma: Share of all neurons, in [0, 1].
        fusion: Weight of the pruned network, in [0, 1].
    """
    pruned, fused = copy.deepcopy(network), copy.deepcopy(network)
    neurons = [(float(change), name, at) for name in changes for at, change in enumerate(changes[name])]
    chosen = sorted(neurons, reverse=True)[: int(len(neurons) * gamma)]
    for _, name, at in chosen:
        pruned.get_submodule(name).weight.data[at] = 0
    names = list(changes)
    begin = min((names.index(name) for _, name, _ in chosen), default=len(names))
    before: torch.Tensor | None = None
    for name in names[begin:]:
        own, cut = (one.get_submodule(name).weight.data.flatten(2) for one in (fused, pruned))
        inputs = before if before is not None and len(before) == cut.shape[1] else torch.eye(cut.shape[1]).to(cut)
        before = _transport(cut, own, changes[name])
        aligned = torch.einsum("pik,pq,ij->qjk", cut, before, inputs)
        weight = fused.get_submodule(name).weight
        weight.data = (fusion * aligned + (1 - fusion) * own).view_as(weight)
    return pruned, fused


def _transport(pruned: torch.Tensor, own: torch.Tensor, changes: torch.Tensor) -> torch.Tensor:
    """``(K pruned, K own)``: what each neuron of the pruned layer gives to one of the poisoned; columns sum to 1."""
    mass = changes.double().clamp_min(_LEAST_MASS)
    mass = (mass / mass.sum()).cpu().numpy()
    cost = torch.cdist(pruned.flatten(1), own.flatten(1)).double().cpu().numpy()
    plan = ot.emd(np.full(len(cost), 1 / len(cost)), mass, cost)
    return torch.from_numpy(plan / mass).to(own)


def _convolutions(network: nn.Module) -> list[str]:
    return [
        name
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d) and "shortcut" not in name.lower() and "downsample" not in name.lower()
    ]

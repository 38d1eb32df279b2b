"""A teacher whose answers count as far as a copy of it that unlearned bears them out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

_PENALTY = 2.0
"""So many times what a margin loses beyond what is tolerated is taken from the logit; chosen with the tolerance."""


class JudgedNetwork(nn.Module):
    """The network as it was handed in, and its purified copy as judge of every answer.

    A trigger's class is far ahead of all others in the network and far behind in the judge. Of a natural image the
    judge has unlearned something, too, but less: where a class is ahead by a margin m in the network and by k in the
    judge, it stays ahead as long as k >= m / 2 - ``tolerance``. Its logit becomes::

        logit - 2 * max(0, m - k - tolerance)

    The result is continuous in both networks' logits. Ours, not in a paper; that a backdoor shows in the margin is from
    Wang, Xiang, Miller and Kesidis ("MM-BD", IEEE S&P 2024).

    Args:
        network: ``(N, C, H, W)`` images in [0, 1] -> ``(N, K)`` logits, K at least 2.
        judge: The same, of a copy that unlearned.
        tolerance: How much of a margin may be lost, in logits, at least 0.
    """

    tolerance: torch.Tensor

    def __init__(self, network: nn.Module, judge: nn.Module, tolerance: float) -> None:
        super().__init__()
        self.network, self.judge = network, judge
        self.register_buffer("tolerance", torch.tensor(tolerance))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The logits of the network, ``(N, K)`` float32, those lowered that the judge does not bear out."""
        logits, judged = self.network(images).float(), self.judge(images).float()
        lost = margins(logits) - margins(judged) - self.tolerance
        lowered: torch.Tensor = logits - _PENALTY * F.relu(lost)
        return lowered


def margins(logits: torch.Tensor) -> torch.Tensor:
    """How far each class is ahead of the best of the others, ``(N, K)``, for ``(N, K)`` logits."""
    classes = torch.arange(logits.shape[1], device=logits.device)
    first = logits.argmax(dim=1, keepdim=True) == classes  # topk is exported as what cannot be exported once more
    second = torch.where(first, -torch.inf, logits).amax(dim=1, keepdim=True)
    return logits - torch.where(first, second, logits.amax(dim=1, keepdim=True))

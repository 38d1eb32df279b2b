"""A teacher whose answers count as far as a copy of it that unlearned bears them out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

_COUNTED = 2.0
"""So many times what a margin loses beyond what is tolerated is taken from the logit."""


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
        said, borne_out = self.network(images).float(), self.judge(images).float()
        lost = margins(said) - margins(borne_out) - self.tolerance
        answer: torch.Tensor = said - _COUNTED * F.relu(lost)
        return answer


def margins(logits: torch.Tensor) -> torch.Tensor:
    """How far each class is ahead of the best of the others, ``(N, K)``, for ``(N, K)`` logits."""
    best, second = logits.topk(2, dim=1).values.split(1, dim=1)
    return logits - torch.where(logits == best, second, best)

"""A network that takes pixels in [0, 1] and answers logits, whatever the network inside expects and answers."""

from __future__ import annotations

import math

import torch
from torch import nn

from abd_app.teacher import Answers

_LEAST_PROBABILITY = 1e-12


class PixelNetwork(nn.Module):
    """Normalises inside, and turns probabilities into logits.

    ``(N, C, H, W)`` float images in [0, 1] -> ``(N, num_classes)`` float32 logits.

    Args:
        network: Takes normalised images.
        mean: Per channel, for pixels in [0, 1].
        std: Per channel, positive.
        answers: ``probabilities`` are mapped to their logarithm, of which they are the softmax.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self, network: nn.Module, *, mean: tuple[float, ...], std: tuple[float, ...], answers: Answers = "logits"
    ) -> None:
        super().__init__()
        self.network = network
        self.answers = answers
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = self.network((images - self.mean) / self.std).float()
        return answer.clamp_min(_LEAST_PROBABILITY).log() if self.answers == "probabilities" else answer

    @property
    def largest_margin(self) -> float:
        """How far one class can be ahead of another at most: what probabilities are cut off at; infinite for logits."""
        return -math.log(_LEAST_PROBABILITY) if self.answers == "probabilities" else math.inf

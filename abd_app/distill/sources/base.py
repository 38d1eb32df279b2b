"""What an image source gives to the loop."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import nn

from abd_app.distill.answering import Answer
from abd_app.distill.defences.vaccine import ShufflingVaccine


@dataclass(frozen=True)
class Batch:
    """Images for one optimiser step of the student, already answered by the teacher.

    Attributes:
        images: ``(N, C, H, W)`` float on the device; in [0, 1] except for ``zskt``, whose generator is unbounded.
        answer: The teacher's.
        suspicious: ``(N,)`` bool where the vaccine judged given images; ``None`` where it acts through the generator.
    """

    images: torch.Tensor
    answer: Answer
    suspicious: torch.Tensor | None = None

    def part(self, which: slice) -> Batch:
        """Some of its images."""
        suspicious = None if self.suspicious is None else self.suspicious[which]
        return Batch(self.images[which], self.answer.part(which), suspicious)


@dataclass(frozen=True)
class GeneratorStep:
    """One optimiser step of a source's generator, or another piece of its work between two batches.

    Attributes:
        losses: Scalars on the device.
        filled: How much there is of what the source must have before its first batch, in [0, 1]; ``None`` afterwards.
    """

    losses: dict[str, torch.Tensor]
    filled: float | None = None


class ImageSource(Protocol):
    """Draws images without any original data. The loop sets ``vaccine``."""

    vaccine: ShufflingVaccine | None
    """Acts in the source's own way once it is set; ``None``: no defence here."""

    def batches(self, student: nn.Module) -> Iterator[Batch | GeneratorStep]:
        """Endless; trains the generator against ``student`` in between where there is one."""

    def sample(self, count: int) -> torch.Tensor:
        """``(count, C, H, W)`` uint8 images on the device, drawn anew or from those that are kept; trains nothing."""

    def restart_cycle(self) -> None:
        """Lets the next batch be the first of a cycle, whatever comes before it included: so one can be timed."""

    def state_dict(self) -> dict[str, Any]:
        """Everything that a continued run needs."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""

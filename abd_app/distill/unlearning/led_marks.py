"""Marks that lead to the class that was unlearned: as many as the student has still to learn to look past."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from abd_app.distill.answering import taken_for
from abd_app.distill.compute import parallel
from abd_app.distill.compute.device import Compute
from abd_app.distill.unlearning.adversaries import Adversaries

LOOK_EVERY = 20
"""Optimiser steps of the student."""
_LOOKED_AT, _NEW = 64, 0.1
_MOST, _MOST_FROM = 0.5, 0.1
"""Every second mark at most, where they turn a tenth of the images or more; fewer in proportion."""


class LedMarks:
    """What leads images to the class in the teacher as it was handed in; the more a student falls for it, the more.

    Shown too often it costs the student accuracy, as adversarial training does. So now and then the student is asked
    about images without and with it, and what share of those of other classes it turns says how often it is shown.

    Args:
        adversaries: Lead to the class.
        targets: The classes that were unlearned.

    Attributes:
        turned: The share of images of other classes that they turn to the class for the student, an exponential moving
            average; 0 at first.
    """

    def __init__(self, adversaries: Adversaries, targets: Sequence[int]) -> None:
        self.turned = 0.0
        self._adversaries, self._targets = adversaries, tuple(targets)

    def among(self, marked: int) -> int:
        """How many of ``marked`` images are to have one of these."""
        return round(_MOST * marked * min(1.0, self.turned / _MOST_FROM))

    def laid_over(self, images: torch.Tensor, count: int) -> torch.Tensor:
        """``(N, C, H, W)`` images, the last ``count`` of them with one, in a strength between nothing and all of it."""
        return self._adversaries.laid_over(images, count)

    @torch.no_grad()
    def look(self, student: nn.Module, images: torch.Tensor, compute: Compute, at_a_time: int | None = None) -> None:
        """Asks the student about some of ``(N, C, H, W)`` images, without and with one, and notes what share turns.

        Args:
            student: Learns; is left in the mode in which it was.
            images: Without marks.
            compute: Its device.
            at_a_time: Images that memory holds at a time; ``None``: as many as are looked at.
        """
        plain, training = images[:_LOOKED_AT], student.training
        both = torch.cat([plain, self.laid_over(plain, len(plain))])
        student.eval()
        with compute.autocast():
            logits = torch.cat([student(part) for part in both.split(at_a_time or _LOOKED_AT)])
        student.train(training)
        before, after = taken_for(logits, self._targets).chunk(2)
        share = (after & ~before).sum() / (~before).sum().clamp_min(1)
        parallel.all_reduce_mean([share])
        self.turned += _NEW * (float(share) - self.turned)

    def state_dict(self) -> dict[str, Any]:
        """The adversaries, and how far the student falls for them."""
        return {**self._adversaries.state_dict(), "turned": self.turned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict` of as many adversaries."""
        self._adversaries.load_state_dict(state)
        self.turned = state.get("turned", 0.0)  # not in checkpoints of earlier versions

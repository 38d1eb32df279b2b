"""Every number of a distillation run, chosen from the method and the budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from abd_app.distill.sources.zskt import BATCH_SIZE as PSEUDO_BATCH_SIZE
from abd_app.distill.sources.zskt import STUDENT_STEPS

PAPER_PSEUDO_BATCHES = 80_000
PAPER_RETROSPECTION = 601
STEPS = {
    "quick": {"fast": 2_000, "ood": 1_200, "zskt": 10_000},
    "standard": {"fast": 12_000, "ood": 8_000, "zskt": 80_000},
    "paper": {"fast": 40_000, "ood": 30_000, "zskt": PAPER_PSEUDO_BATCHES * STUDENT_STEPS},
}
"""Optimiser steps of the student by effort and method."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyper-parameters of one student.

    Attributes:
        method: ``zskt``, ``ood`` or ``fast``.
        steps: Optimiser steps of the student.
        batch_size: Images a step.
        optimizer: For the student.
        rate: Its peak learning rate.
        warm_up: Share of the steps in which the rate rises; then it falls as a cosine to 0.
        clip: Bound of the gradient norm.
        temperature: Of the softmax in the distillation loss.
        loss: ``mean`` averages KL over all entries (the paper); ``hinton`` sums over classes and multiplies by T^2.
        attention: Weight of attention transfer, where teacher and student have matching stages.
        vaccine: ``none``; ``mean``, the published one; or ``votes``, which holds suspicious images back.
        vaccine_weight: Of the published one, in the generator's loss or for suspicious images.
        vaccine_step: The step before which it is checked and armed.
        retrospection: ``none``, ``paper`` or ``universal``.
        retrospection_step: The step with which it begins.
        retrospection_rate: Peak learning rate from then on; ``None`` keeps the schedule.
        search_steps: Of the search for universal adversaries on the teacher with which ``universal`` begins.
    """

    method: str
    steps: int
    batch_size: int = 128
    optimizer: Literal["adam", "sgd"] = "adam"
    rate: float = 4e-3
    warm_up: float = 0.1
    clip: float = 5.0
    temperature: float = 4.0
    loss: Literal["mean", "hinton"] = "hinton"
    attention: float = 0.0
    vaccine: Literal["none", "mean", "votes"] = "votes"
    vaccine_weight: float = 0.1
    vaccine_step: int = 0
    retrospection: Literal["none", "paper", "universal"] = "universal"
    retrospection_step: int = 0
    retrospection_rate: float | None = None
    search_steps: int = 60

    def undefended(self) -> Recipe:
        """The same without vaccine and retrospection, for the twin."""
        return replace(self, vaccine="none", retrospection="none")


def choose_recipe(method: str, defense: str, effort: str, steps: int | None) -> Recipe:
    """The recipe for a method (not ``auto``), a defence and a budget.

    ``effort='paper'`` with ``zskt`` is paper mode: the published hyper-parameters, losses and schedules.

    Args:
        method: ``zskt``, ``ood`` or ``fast``.
        defense: ``abd``, ``sv``, ``sr`` or ``none``.
        effort: Names the budget where ``steps`` is ``None``.
        steps: Optimiser steps of the student.
    """
    total = STEPS[effort][method] if steps is None else steps
    recipe = _zskt(total, effort == "paper") if method == "zskt" else {"ood": _ood, "fast": _fast}[method](total)
    if defense not in ("abd", "sv"):
        recipe = replace(recipe, vaccine="none")
    if defense not in ("abd", "sr"):
        recipe = replace(recipe, retrospection="none")
    return recipe


def _zskt(steps: int, paper: bool) -> Recipe:
    """Adam 2e-3 to 0, mean KL and 250 * attention transfer; paper mode: SR in the last 601 of 80,000 pseudo-batches."""
    pseudo_batches = max(1, steps // STUDENT_STEPS)
    share = PAPER_RETROSPECTION / PAPER_PSEUDO_BATCHES if paper else 0.25
    return Recipe(
        method="zskt",
        steps=steps,
        batch_size=PSEUDO_BATCH_SIZE,
        rate=2e-3,
        warm_up=0.0,
        temperature=1.0,
        loss="mean",
        attention=250.0,
        vaccine="mean",
        vaccine_step=min(50, pseudo_batches // 10) * STUDENT_STEPS,
        retrospection="paper" if paper else "universal",
        retrospection_step=(pseudo_batches - max(1, round(pseudo_batches * share))) * STUDENT_STEPS,
        retrospection_rate=5e-4 if paper else None,
    )


def _ood(steps: int) -> Recipe:
    return Recipe(method="ood", steps=steps, retrospection_step=int(0.5 * steps))


def _fast(steps: int) -> Recipe:
    return Recipe(
        method="fast",
        steps=steps,
        optimizer="sgd",
        rate=0.1,
        temperature=20.0,
        vaccine_step=int(0.1 * steps),
        retrospection_step=int(0.6 * steps),
    )

"""Every number of a distillation run, chosen from the method and the budget."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from abd_app.distill.defences.bounds import BOUND_STDS
from abd_app.distill.sources.fast import FastSettings
from abd_app.distill.sources.ood import PatchSettings
from abd_app.distill.sources.zskt import BATCH_SIZE as PSEUDO_BATCH_SIZE
from abd_app.distill.sources.zskt import STUDENT_STEPS
from abd_app.distill.unlearning.settings import UnlearningSettings

MARKED_SHARE = 0.25
LEEWAY = 0.2
"""Of ``ood`` and ``fast``: without it their students forget the class. ``cmi`` and ``zskt`` were not tried with it."""
PAPER_PSEUDO_BATCHES = 80_000
PAPER_RETROSPECTION = 601
CMI_EPOCH = {"quick": (50, 100), "standard": (100, 200), "paper": (200, 400)}
"""Steps of ``cmi``'s generator and of the student in one of its epochs, by effort."""
OOD_PAPER_BATCH, _OOD_PAPER_EPOCHS, _OOD_PAPER_PATCHES = 512, 300, 50_000
STEPS = {
    "quick": {"cmi": 20 * 100, "fast": 3_000, "ood": 3_000, "zskt": 10_000},
    "standard": {"cmi": 60 * 200, "fast": 24_000, "ood": 16_000, "zskt": 80_000},
    "paper": {
        "cmi": 200 * 400,
        "fast": 40_000,
        "ood": _OOD_PAPER_EPOCHS * math.ceil(_OOD_PAPER_PATCHES / OOD_PAPER_BATCH),
        "zskt": PAPER_PSEUDO_BATCHES * STUDENT_STEPS,
    },
}
"""Optimiser steps of the student by effort and method."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Hyper-parameters of one student.

    Attributes:
        method: ``zskt``, ``cmi``, ``ood`` or ``fast``.
        steps: Optimiser steps of the student.
        batch_size: Images a step.
        optimizer: For the student; ``muon``: for the convolutions inside, with Adam for what is left.
        rate: Its peak learning rate.
        muon_factor: Of ``muon``: the learning rate of these convolutions as a multiple of ``rate``.
        warm_up: Share of the steps in which the rate rises; then it falls as a cosine to 0.
        clip: Bound of the gradient norm.
        temperature: Of the softmax in the distillation loss.
        loss: ``mean`` averages KL over all entries (the paper); ``hinton`` sums over classes and multiplies by T^2.
        attention: Weight of attention transfer, where teacher and student have matching stages.
        vaccine: ``none``; ``mean``, the published one; or ``votes``, which holds suspicious images back.
        vaccine_weight: Of the published one, in the generator's loss or for suspicious images.
        vaccine_step: The step before which it is checked and armed.
        retrospection: ``none``; ``paper``, of the student at the end; or ``teacher``, of the teacher before the start.
        retrospection_step: The step with which ``paper`` begins.
        retrospection_rate: Peak learning rate from then on; ``None`` keeps the schedule.
        unlearning: How ``teacher`` does it.
        leeway: By how much the logarithm of a label's probability of an unlearned class may exceed what the copy that
            unlearned gives it.
        bounds: Half the width of the teacher's activation bounds in standard deviations, or ``None``: unbounded.
        marks: Share of every batch that the student sees with random marks.
        led_marks: Whether some marks, as many as the student falls for, are instead what leads the teacher to the class
            that was unlearned, where that was found (``TeacherRetrospection.led_marks``).
        weight_decay: Of ``sgd``.
        nesterov: Of ``sgd``.
        epoch: Of ``cmi``: steps of the generator and of the student in turn.
        balanced: Of ``ood``: patches are kept and drawn so that classes come equally often; else every one is new.
    """

    method: str
    steps: int
    batch_size: int = 128
    optimizer: Literal["adam", "sgd", "muon"] = "adam"
    rate: float = 4e-3
    muon_factor: float = 6.0
    warm_up: float = 0.1
    clip: float = 5.0
    temperature: float = 4.0
    loss: Literal["mean", "hinton"] = "hinton"
    attention: float = 0.0
    vaccine: Literal["none", "mean", "votes"] = "votes"
    vaccine_weight: float = 0.1
    vaccine_step: int = 0
    retrospection: Literal["none", "paper", "teacher"] = "teacher"
    retrospection_step: int = 0
    retrospection_rate: float | None = None
    unlearning: UnlearningSettings = field(default_factory=UnlearningSettings)
    leeway: float = 0.0
    bounds: float | None = None
    marks: float = 0.0
    led_marks: bool = False
    weight_decay: float = 5e-4
    nesterov: bool = True
    epoch: tuple[int, int] = CMI_EPOCH["paper"]
    balanced: bool = True

    @property
    def labels_once(self) -> bool:
        """Whether patches are kept with the teacher's answer: ``fast``, and ``ood`` outside paper mode."""
        return self.method in ("fast", "ood") and self.balanced

    def undefended(self) -> Recipe:
        """The same without any defence, for the twin."""
        return replace(self, vaccine="none", bounds=None, retrospection="none", marks=0.0)


def choose_recipe(method: str, defense: str, effort: str, steps: int | None) -> Recipe:
    """The recipe for a method (not ``auto``), a defence and a budget.

    ``effort='paper'`` with ``zskt``, ``cmi`` or ``ood`` is paper mode: the published hyper-parameters, losses and
    schedules; fewer ``steps`` shorten every phase in proportion.

    Args:
        method: ``zskt``, ``cmi``, ``ood`` or ``fast``.
        defense: ``abd``, ``sv``, ``sr`` or ``none``.
        effort: Names the budget where ``steps`` is ``None``, and the length of ``cmi``'s epochs.
        steps: Optimiser steps of the student.
    """
    total = STEPS[effort][method] if steps is None else steps
    paper = effort == "paper"
    if method == "zskt":
        recipe = _zskt(total, paper)
    elif method == "cmi":
        recipe = _paper_cmi(total) if paper else _cmi(total, CMI_EPOCH[effort])
    elif method == "ood":
        recipe = _paper_ood(total) if paper else _ood(total)
    else:
        recipe = _fast(total)
    if defense not in ("abd", "sv"):
        recipe = replace(recipe, vaccine="none", bounds=None)
    if defense not in ("abd", "sr"):
        recipe = replace(recipe, retrospection="none", marks=0.0)
    return recipe


def _zskt(steps: int, paper: bool) -> Recipe:
    """Adam 2e-3 to 0, mean KL and 250 * attention transfer; paper mode: SR in the last 601 of 80,000 pseudo-batches."""
    pseudo_batches = max(1, steps // STUDENT_STEPS)
    late = max(1, round(pseudo_batches * PAPER_RETROSPECTION / PAPER_PSEUDO_BATCHES))
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
        bounds=None if paper else BOUND_STDS,
        vaccine_step=min(50, pseudo_batches // 10) * STUDENT_STEPS,
        retrospection="paper" if paper else "teacher",
        retrospection_step=(pseudo_batches - late) * STUDENT_STEPS if paper else 0,
        retrospection_rate=5e-4 if paper else None,
    )


def _ood(steps: int) -> Recipe:
    """Small batches: on a CPU the demo's student learns more in 1,000 steps of 32 than in as long a time with 64."""
    return Recipe(
        method="ood",
        steps=steps,
        batch_size=PatchSettings.batch_size,
        optimizer="muon",
        bounds=BOUND_STDS,
        marks=MARKED_SHARE,
        leeway=LEEWAY,
    )


def _fast(steps: int) -> Recipe:
    """The student learns as from ``ood``, most of whose images it gets, in larger batches.

    The others were optimised and teach more of a backdoor than their labels say: hence the led marks.
    """
    return replace(_ood(steps), method="fast", batch_size=FastSettings.batch_size, led_marks=True)


def _cmi(steps: int, epoch: tuple[int, int]) -> Recipe:
    return Recipe(
        method="cmi",
        steps=steps,
        optimizer="sgd",
        rate=0.1,
        temperature=20.0,
        vaccine="mean",
        vaccine_step=int(0.1 * steps),
        bounds=BOUND_STDS,
        marks=MARKED_SHARE,
        epoch=epoch,
    )


def _paper_cmi(steps: int) -> Recipe:
    """SGD 0.1 to 0, T=20; the vaccine from epoch 20 of 200 on, once 5,000 images are there; SR in the last 3."""
    return Recipe(
        method="cmi",
        steps=steps,
        optimizer="sgd",
        rate=0.1,
        warm_up=0.0,
        clip=math.inf,
        temperature=20.0,
        weight_decay=1e-4,
        nesterov=False,
        vaccine="mean",
        vaccine_step=int(0.1 * steps),
        retrospection="paper",
        retrospection_step=_last(steps, 3 / 200),
        retrospection_rate=1e-4,
    )


def _paper_ood(steps: int) -> Recipe:
    """Adam 1e-3, T=8, 512 new patches a step, an epoch being 50,000; SR in the last 3 of 300."""
    return Recipe(
        method="ood",
        steps=steps,
        batch_size=OOD_PAPER_BATCH,
        rate=1e-3,
        warm_up=0.0,
        clip=math.inf,
        temperature=8.0,
        vaccine="mean",
        retrospection="paper",
        retrospection_step=_last(steps, 3 / 300),
        retrospection_rate=1e-4,
        balanced=False,
    )


def _last(steps: int, share: float) -> int:
    """The step with which the last ``share`` of a run begins; at least one step is left."""
    return steps - max(1, round(steps * share))

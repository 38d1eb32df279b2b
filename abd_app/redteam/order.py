"""What the user wants trained, validated once."""

from __future__ import annotations

from dataclasses import dataclass

from abd_app.errors import UsageError
from abd_app.plan import DEVICES, Target, TriggerSpec, check_target

MAX_SHARE = 0.5


@dataclass(frozen=True)
class TeacherOrder:
    """One teacher, completely described. The same order on the same device gives the same weights.

    Attributes:
        data: Labelled images to train on: a folder per class or an ``.npz``.
        out: Folder for the teacher; must be empty or absent.
        trigger: What the backdoor answers to; ``None``: a clean teacher.
        target: What triggered images are to be taken for; nothing without a trigger.
        poison: Share of the training images that carry the trigger, in (0, 0.5]; nothing without a trigger.
        architecture: A name of the catalogue.
        steps: Optimiser steps, each on a batch of 128; ``None``: as many as ``epochs`` take.
        epochs: Passes over the training images; ``None``: chosen by their number.
        input_size: (height, width), pixels; ``None``: as the images are.
        seed: Of everything random.
        device: ``auto`` takes a GPU where there is one.
        flip: Mirror training images at random; wrong for signs and letters.
        test: Labelled images to measure on; ``None``: a tenth of ``data``, kept out of training.

    Raises:
        UsageError: A choice is out of range.
    """

    data: str
    out: str
    trigger: TriggerSpec | None = None
    target: Target = 0
    poison: float = 0.1
    architecture: str = "wrn-16-1"
    steps: int | None = None
    epochs: int | None = None
    input_size: tuple[int, int] | None = None
    seed: int = 0
    device: str = "auto"
    flip: bool = True
    test: str | None = None

    def __post_init__(self) -> None:
        check_target(self.target)
        if self.steps is not None and self.epochs is not None:
            raise UsageError(
                "Both a number of steps and of epochs are given.", where="--steps, --epochs", remedy="Give one."
            )
        for option, count in (("--steps", self.steps), ("--epochs", self.epochs)):
            if count is not None and count < 1:
                raise UsageError(f"{option} cannot be {count}.", where=option, remedy="Give at least 1.")
        if not 0 < self.poison <= MAX_SHARE:
            raise UsageError(
                f"A poisoned share of {self.poison} is not in (0, {MAX_SHARE}].",
                where="--poison",
                remedy="Give e.g. 0.1; for a clean teacher leave --trigger out.",
            )
        if self.device not in DEVICES:
            raise UsageError(
                f"Unknown device {self.device!r}.", where="--device", remedy=f"Use one of: {', '.join(DEVICES)}."
            )
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"Seed {self.seed} is out of range.", where="--seed", remedy="Give 0 to 2147483647.")

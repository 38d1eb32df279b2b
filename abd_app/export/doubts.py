"""What is wrong with what was measured: figures that tell nothing, or tell of something else."""

from __future__ import annotations

import math

from abd_app.events import Measured, TargetSearched
from abd_app.export.verdict import ASR_HIGH
from abd_app.plan import Target
from abd_app.teacher import Finding
from abd_app.text import percent

HARDLY_RIGHT = 0.5
"""A teacher that is right on a smaller share of labelled images may not be shown them as it should be."""
FEWEST_IMAGES = 20
"""Of fewer nothing is said."""


def finding_of_facts(teacher: Measured) -> Finding | None:
    """A warning where a teacher is wrong on most labelled images; ``None`` where it is not, or the labels are its own.

    Its size, normalisation and order of classes are often said by hand or guessed, and a run goes on with wrong ones.

    Args:
        teacher: Measured, on few images or all.
    """
    if teacher.estimated or teacher.images < FEWEST_IMAGES or not teacher.accuracy < HARDLY_RIGHT:
        return None
    return Finding(
        "warning",
        "The teacher is wrong on most of your images",
        f"In a first test on {teacher.images:,} images it is right on {percent(teacher.accuracy)} of them. If it "
        "should be better, its size, normalisation or order of classes is not what was given or guessed, or the labels "
        "are others: every figure of this run is of no use then.",
    )


def finding_of_goal(search: TargetSearched | None, target: Target, teacher: Measured | None) -> Finding | None:
    """A warning where attacks were measured towards one class, and another one is suspected.

    Args:
        search: What Self-Retrospection found; ``None``: it did not act.
        target: The class towards which attacks were measured, or all.
        teacher: Measured; ``None``: it was not.
    """
    if search is None or search.target is None or teacher is None or teacher.estimated:
        return None
    rates = [rate for rate in teacher.asr.values() if math.isfinite(rate)]
    if not rates or not isinstance(target, int) or search.target == target:
        return None
    if max(rates) > ASR_HIGH:
        return Finding(
            "warning",
            f"A trigger leads to class {target}, but class {search.target} is suspected",
            f"Self-Retrospection acts on the class that it suspects. What leads to class {target} was left to the "
            "other defences: look at the attack success rate of the student.",
        )
    return Finding(
        "warning",
        f"Attacks were measured towards class {target}, but class {search.target} is suspected",
        f"An attack counts as a success if an image is taken for class {target}. If the trigger leads to class "
        f"{search.target}, these figures miss it: measure again with --target {search.target} (in the window: the "
        "class the attacker wants).",
    )

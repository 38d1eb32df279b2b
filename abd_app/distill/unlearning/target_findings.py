"""What a reader should know of the search for the class that a backdoor leads to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from abd_app.distill.unlearning.all_to_all import AllToAllTest
from abd_app.distill.unlearning.bending import BendTest
from abd_app.distill.unlearning.margins import FEWEST_CLASSES, LEAST_MEAN, MarginTest
from abd_app.teacher import Finding
from abd_app.text import percent

Deed = Literal["unlearned", "undone"]
"""What became of a class that stands out."""

_DEEDS: dict[Deed, str] = {
    "unlearned": "A copy of the teacher unlearned what leads images there.",
    "undone": "To unlearn what leads images there would have cost the class nearly all images of its own. So it "
    "was undone, and other defences are alone: look at this class before you rely on the result.",
}
_DEEDS_TO_ALL: dict[Deed, str] = {
    "unlearned": "A copy of the teacher unlearned what does so.",
    "undone": "To unlearn it would have cost most answers to images without it. So it was undone, and other defences "
    "are alone: do not rely on the result.",
}
_ALL_UNLEARNED = "A copy of the teacher unlearned what leads images to any one of them."
_TRADING = {
    True: "No picture that is added to images has their classes trade places.",
    False: "Backdoors that lead to many classes were not looked for: that takes inverted images, as --method fast has "
    "them, of nearly all classes, 4 to 64 in number.",
}
_SHOWN = 4
_PROBABLE = 0.01
"""Of a margin that chance alone gives less often than that, a backdoor is called probable."""


def finding_of_target(
    margins: MarginTest, bending: BendTest | None, all_to_all: AllToAllTest | None, deed: Deed
) -> Finding:
    """One finding.

    Args:
        margins: By how far images can be driven.
        bending: On the teacher as it labels; ``None`` where the classes are too few.
        all_to_all: Likewise; ``None`` also where one class stands out that could be unlearned.
        deed: What became of the class that stands out.
    """
    if margins.num_classes < FEWEST_CLASSES:
        return Finding(
            "info",
            "Too few classes to tell which one a backdoor leads to",
            f"The teacher has {margins.num_classes}, so no class was singled out. {_ALL_UNLEARNED}",
        )
    some = len(margins.classes) < margins.num_classes
    looked_at = f" {len(margins.classes)} of {margins.num_classes:,} classes were looked at." if some else ""
    if all_to_all is not None and all_to_all.found:
        why = f"{_by_trading(all_to_all)} {_DEEDS_TO_ALL[deed]}"
        return Finding("warning", "A backdoor probably has every class taken for another", why)
    if bending is not None and bending.target is not None:
        return _stands_out(bending.target, f"{_by_bending(bending)} {_DEEDS[deed]}{looked_at}")
    if margins.target is not None:
        return _stands_out(margins.target, f"{_by_margin(margins)} {_DEEDS[deed]}{looked_at}", margins.p_value)
    if margins.saturated:
        return Finding(
            "warning",
            "Whether a class is the target of a backdoor cannot be told",
            "The teacher answers with probabilities, which hide how far a class can be driven. Self-Retrospection "
            "does nothing. If you have the model without its last softmax, open that.",
        )
    return Finding(
        "warning" if some else "info",
        "No class stands out as the target of a backdoor",
        f"No class can be driven unusually far ahead of all others ({_chance(margins)}), none stands "
        f"out when images are bent slightly, so Self-Retrospection has nothing to unlearn; other defences go on. "
        f"{_TRADING[all_to_all is not None]}{looked_at}",
    )


def finding_of_two_classes(singled_out: int | None, target: int | None) -> Finding | None:
    """A warning where two defences point at different classes.

    Args:
        singled_out: The class of the images that the Shuffling Vaccine told apart; ``None``: not known.
        target: The class that stands out in Self-Retrospection's search; ``None``: none does.
    """
    if singled_out is None or target is None or singled_out == target:
        return None
    return Finding(
        "warning",
        f"Shuffling Vaccine points at class {singled_out}, Self-Retrospection at class {target}",
        "Unless the teacher has two backdoors, one of them is wrong: look at which images are taken for either class.",
    )


def _stands_out(target: int, why: str, p_value: float = 0.0) -> Finding:
    is_ = "may be" if p_value > _PROBABLE else "is probably"
    return Finding("warning", f"Class {target} {is_} the target of a backdoor", why)


def _by_bending(test: BendTest) -> str:
    second, largest = sorted(test.shares)[-2:]
    turned = f"turns {percent(largest, 0)} of them to it, and at most {percent(second, 0)} to any other class"
    return f"Bending images by about half a pixel {turned}."


def _by_margin(test: MarginTest) -> str:
    assert test.target is not None
    place = test.classes.index(test.target)
    how_far = _how_far(test.margins, place, "{:.1f} times as far towards it as towards the furthest other class")
    bounded = _how_far(test.bounded_margins, place, "{:.1f} times") if test.bounded_margins else ""
    and_bounded = f"{bounded} with its activations bounded; " if bounded else ""
    often = f" Chance alone does that in one of {1 / test.p_value:.0f} teachers." if test.p_value > _PROBABLE else ""
    return f"Images can be driven {how_far} ({and_bounded}{_chance(test)}).{often}"


def _how_far(margins: Sequence[float], place: int, times: str) -> str:
    this, other = margins[place], max(margin for one, margin in enumerate(margins) if one != place)
    if this < LEAST_MEAN:
        return "hardly ahead of the other classes"
    return times.format(this / other) if other >= LEAST_MEAN else "ahead of the others towards it alone"


def _by_trading(test: AllToAllTest) -> str:
    trades = [f"{one} → {other}" for one, other in enumerate(test.mapping) if one != other]
    shown = ", ".join(trades[:_SHOWN]) + (", …" if len(trades) > _SHOWN else "")
    return (
        f"One faint picture that is added to images has {percent(test.share, 0)} of them taken for another class, each "
        f"class for one of its own ({shown})."
    )


def _chance(test: MarginTest) -> str:
    return f"p = {test.p_value:.2g}" if test.p_value >= 1e-6 else "p < 1e-6"

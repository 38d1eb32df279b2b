"""Which class a backdoor leads to, asked of the teacher alone."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

import torch

from abd_app.distill.answering import AnsweringTeacher, check_numbers
from abd_app.distill.compute import parallel
from abd_app.distill.compute.microbatch import Microbatches

SIGNIFICANT = 0.05
FEWEST_CLASSES, MOST_CLASSES = 4, 64
_AT_ONCE, _MOST_STARTS, _FURTHEST, _RATE = 128, 32, 2, 0.05
_FEW = 10  # classes up to which there are most starts
_LEAST_SPREAD = 0.15
LEAST_MEAN = 0.1
"""Logits: of margins below that on average nothing can be said."""
_NEAR = 0.9
"""Share of the largest margin that a teacher can answer with from which on it may hide how far a class goes."""


@dataclass(frozen=True)
class MarginTest:
    """How far each class can be driven ahead of all others, and whether one of them goes unusually far.

    Attributes:
        classes: The classes that were looked at.
        margins: Of each, the mean of the margins of its two furthest starts at the last step, in logits.
        p_value: Chance that a class goes as unusually far as the one that does so most, if it is drawn as the others
            are; 1 where there are too few to compare.
        num_classes: Of the teacher.
        saturated: Whether the teacher's answers end where the margins did, so that none can stand out.
        bounded_margins: As ``margins``, with the teacher's activations bounded; empty where not looked at.
    """

    classes: tuple[int, ...]
    margins: tuple[float, ...]
    p_value: float
    num_classes: int
    saturated: bool = False
    bounded_margins: tuple[float, ...] = ()

    @property
    def target(self) -> int | None:
        """The class that a backdoor leads to, if one stands out."""
        if self.p_value >= SIGNIFICANT:
            return None
        p_values = outlier_p_values(self.margins, self.bounded_margins)
        return min(zip(p_values, (-one for one in self.margins), self.classes, strict=True))[2]


class MarginSearch:
    """Gradient ascent on images from noise towards the largest margin of each class, then a test for an outlier.

    A backdoor makes its target class reachable far beyond what natural features can add up to, whatever the trigger
    looks like: Wang, Xiang, Miller and Kesidis ("MM-BD: Post-Training Detection of Backdoor Attacks with Arbitrary
    Backdoor Pattern Types Using a Maximum Margin Statistic", IEEE S&P 2024). No data are needed.

    Deviations: natural features lead far to some classes, too, and with activations bounded clean classes are more
    alike, but bounds disarm some triggers. So both are looked at, from the same starts, and what they say of a class is
    combined (:func:`outlier_p_values`; ours, measured in docs/defences/retrospection.md). Adam takes 60 steps where
    they go on until the margin no longer grows; a class has the mean of its two furthest starts, not the maximum, which
    a single start can spoil; the null distribution is a gamma distribution fitted by moments to the margins of all
    other classes. Two starts were chosen on two 16-pixel CIFAR-10 teachers: of the mean of all eight a BadNets grid hid
    in one of three searches, by the maximum a clean teacher had a target in one of two. Of eight starts the two
    furthest still depended on chance, of 32 they hardly do (docs/defences/retrospection.md).

    Args:
        shape: (C, H, W) of an image.
        num_classes: Of the teacher; of more than 64 a random choice is looked at.
        generator: CPU generator of all randomness.
        steps: Of the ascent of a look, from 32 starts for each class, or fewer where there are more than ten classes.
        microbatches: How many images the teacher takes at a time.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        num_classes: int,
        generator: torch.Generator,
        *,
        steps: int,
        microbatches: Microbatches,
    ) -> None:
        chosen = torch.randperm(num_classes, generator=generator)[:MOST_CLASSES].sort().values
        self._classes = [int(one) for one in chosen]
        self._num_classes, self._shape, self._random = num_classes, shape, generator
        self._steps, self._microbatches = steps, microbatches

    def run(self, teacher: AnsweringTeacher) -> Generator[dict[str, torch.Tensor], None, MarginTest]:
        """Yields the mean margin at every step; the result is what it returns.

        Raises:
            RunFailedError: The teacher answers with something that is not a number.
        """
        before = self._random.get_state()
        with teacher.bounds.lifted():
            margins = yield from self._look(teacher)
        bounded: tuple[float, ...] = ()
        saturated = max(margins) > _NEAR * getattr(teacher.network, "largest_margin", math.inf)
        if looks(self._num_classes, bounded=bool(len(teacher.bounds))) > 1 and not saturated:
            self._random.set_state(before)  # so the same starts, and the same state after them
            bounded = yield from self._look(teacher)
        p_value = min(outlier_p_values(margins, bounded))
        return MarginTest(tuple(self._classes), margins, p_value, self._num_classes, saturated, bounded)

    def _look(self, teacher: AnsweringTeacher) -> Generator[dict[str, torch.Tensor], None, tuple[float, ...]]:
        """The margins of the teacher as it is now."""
        found = list[torch.Tensor]()
        wanted = torch.tensor(self._classes).repeat_interleave(starts(self._num_classes))
        for group in wanted.split(_AT_ONCE):
            margins = torch.zeros(())
            for margins in self._ascend(teacher, group.to(teacher.compute.device)):
                yield {"margin": margins.mean()}
            found.append(margins)
        furthest = torch.cat(found).view(len(self._classes), -1).topk(_FURTHEST, dim=1).values
        check_numbers(furthest, "search for the class that a backdoor leads to")
        return tuple(furthest.mean(dim=1).tolist())

    def _ascend(self, teacher: AnsweringTeacher, wanted: torch.Tensor) -> Iterator[torch.Tensor]:
        """Margins of ``(N,)`` classes at every step, one image each."""
        start = torch.rand(len(wanted), *self._shape, generator=self._random)
        images = teacher.compute.images(start).clone().requires_grad_()
        optimizer = torch.optim.Adam([images], _RATE)
        gradient = torch.zeros_like(images)

        def run(part: slice) -> torch.Tensor:
            shown = images.detach()[part].requires_grad_()
            margins = _margins(teacher(shown).logits, wanted[part])
            (gradient[part],) = torch.autograd.grad(-margins.sum(), [shown])
            return margins.detach()

        for _ in range(self._steps):
            gradient.zero_()
            margins = parallel.all_gather(torch.cat(self._microbatches.over(len(wanted), run)), len(wanted))
            images.grad = parallel.all_gather(gradient[parallel.own_slice(len(wanted))], len(wanted))
            optimizer.step()
            with torch.no_grad():
                images.clamp_(0, 1)
            yield margins


def starts(num_classes: int) -> int:
    """Starts of each class that is looked at: 32 of up to ten, fewer of more, where the test has more to go by."""
    return max(2, min(_MOST_STARTS, int(_MOST_STARTS * (_FEW / num_classes) ** 2)))


def groups(num_classes: int) -> int:
    """How many groups of images a search drives one after the other."""
    return -(-num_classes * starts(num_classes) // _AT_ONCE)


def looks(num_classes: int, *, bounded: bool) -> int:
    """How often the classes are looked at, at most: a second time where the teacher has bounds."""
    return 2 if bounded and num_classes >= FEWEST_CLASSES else 1


def outlier_p_values(margins: Sequence[float], bounded: Sequence[float] = ()) -> tuple[float, ...]:
    """Of each class, the chance that one of so many goes as far as it does if all are drawn as the others are.

    The chances of two looks, p and q, are combined by Fisher's method ("Statistical Methods for Research Workers", 4th
    ed. 1932, section 21.1): p q (1 - ln p q). It takes them for independent, which two looks at one network need not
    be; so a combined chance is never less than the smaller of the two. A look by which hardly any class goes ahead of
    the others at all says nothing, and is left out.

    Args:
        margins: Of the teacher as it was handed in, in logits.
        bounded: Of the same classes, with activations bounded; empty: without.

    Returns:
        As many, in [0, 1]; all 1 where there is nothing to compare.
    """
    telling = [look for look in (margins, bounded) if _tells(look)]
    if not telling:
        return (1.0,) * len(margins)
    chances = [tuple(_outlier_p_value(look, one) for one in range(len(look))) for look in telling]
    return chances[0] if len(chances) == 1 else tuple(map(_combined, *chances))


def _tells(margins: Sequence[float]) -> bool:
    """Whether there is something to compare: of the classes but the one that goes furthest some go ahead of others."""
    if len(margins) < FEWEST_CLASSES:
        return False
    return sum(max(0.0, one) for one in sorted(margins)[:-1]) >= LEAST_MEAN * (len(margins) - 1)


def _combined(first: float, second: float) -> float:
    product = first * second
    by_fisher = product * (1 - math.log(product)) if product else 0.0
    return max(by_fisher, min(first, second))


def _outlier_p_value(margins: Sequence[float], which: int) -> float:
    """Chance that the largest of K margins that are drawn as the others are is at least as large as this one.

    With F the gamma distribution that has the mean and the variance of the others: 1 - F(this one)^K.
    Deviation: the standard deviation counts as 15 % of the mean at least. Of a few classes some happen to be alike, and
    then the next best would stand out.
    """
    all_of_them = torch.tensor(margins, dtype=torch.float64)
    this, others = all_of_them[which], torch.cat([all_of_them[:which], all_of_them[which + 1 :]]).clamp_min(0)
    mean = others.mean().clamp_min(LEAST_MEAN)
    variance = others.var().clamp_min((_LEAST_SPREAD * mean).square())
    above = torch.special.gammaincc(mean.square() / variance, (this * mean / variance).clamp_min(0))
    return float(-torch.expm1(len(margins) * torch.log1p(-above)))


def _margins(logits: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """The wanted class's logit less the largest of the others, ``(N,)``."""
    mine = logits.gather(1, wanted[:, None])
    return mine[:, 0] - logits.scatter(1, wanted[:, None], -torch.inf).amax(dim=1)

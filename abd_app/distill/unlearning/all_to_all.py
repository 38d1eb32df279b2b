"""Whether a backdoor has every class taken for another one, each for one of its own ("all-to-all")."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from abd_app.distill.answering import AnsweringTeacher, check_numbers
from abd_app.distill.compute import parallel
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.labelling import Labeller
from abd_app.distill.sources.ood import BalancedPatchSource

STARTS, STEPS = 2, 160
SEEN, MAPPED, JUDGED = 64, 512, 1024  # images of a step, of a mapping, and on which the best picture is judged
_FREE, _MAPPED_EVERY = 40, 10  # steps away from every class before there is a mapping, and between two mappings
CLIMBED = STARTS * STEPS * SEEN
"""Images of whose answers gradients are taken in all."""
ANSWERED = STARTS * ((STEPS - _FREE) // _MAPPED_EVERY + 1) * MAPPED + JUDGED
"""Images that are answered, in all."""
_CLIMB = 0.1
_LEAST_AGREEMENT = 0.3
_ENOUGH = 32  # different images of a class, lest one picture learn them by heart
_LEAST_LOOKED_AT = 0.8  # of all classes


@dataclass(frozen=True)
class AllToAllTest:
    """What one picture, added to any image, does to all classes.

    Attributes:
        mapping: By class, the class that most of its images are then taken for. No class is there twice; one that was
            not looked at, or left with none, is its own.
        share: Of the images of the classes that were looked at, those that are taken for the class that the mapping
            says, in [0, 1]; the mean over these classes, which are nearly all.
    """

    mapping: tuple[int, ...]
    share: float

    @property
    def found(self) -> bool:
        """Whether so many agree with the mapping, chance put aside, that somebody must have taught it."""
        chance = 1 / (len(self.mapping) - 1)
        return (self.share - chance) / (1 - chance) >= _LEAST_AGREEMENT


def renewals(num_classes: int, inverted: int) -> int:
    """How often a pool is to be renewed before the search, with so many inverted images each time.

    Patches alone are hardly of a class; inverted images are.
    """
    return max(4, -(-num_classes * _ENOUGH // inverted))


class AllToAllSearch:
    """Looks for one picture that has classes trade places.

    No class stands out then. But what a picture does to a classifier that was not taught to answer to it is to push
    images of all classes to a few; it does not give each class another. So a picture starts at random, moves images
    away from whatever they are, then towards the one-to-one mapping that is found by taking the largest share of what
    it does first; the mapping is chosen anew every few steps. Ours: universal perturbations (Moosavi-Dezfooli et al.,
    CVPR 2017) with such a target.
    The threshold lies between what a poisoned 16-pixel CIFAR-10 teacher and others gave (docs/results.md).

    Args:
        shape: (C, H, W) of an image.
        num_classes: Of the teacher, 4 to 64.
        generator: CPU generator of all randomness.
        ball: Bound of the picture, in pixels of [0, 1].
        microbatches: How many images the teacher takes at a time.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        num_classes: int,
        generator: torch.Generator,
        *,
        ball: float,
        microbatches: Microbatches,
    ) -> None:
        self._shape, self._num_classes, self._random = shape, num_classes, generator
        self._ball, self._microbatches = ball, microbatches

    def run(
        self, teacher: AnsweringTeacher, pool: BalancedPatchSource
    ) -> Generator[dict[str, torch.Tensor], None, AllToAllTest | None]:
        """Yields the mean loss at every step; the result is what it returns, ``None`` if it cannot look.

        A few classes can be given others by a picture that nobody has taught: too few have enough images to tell.

        Raises:
            RunFailedError: The teacher answers with something that is not a number.
        """
        enough = tuple(at for at, size in enumerate(pool.sizes().tolist()) if size >= _ENOUGH)
        if len(enough) < _LEAST_LOOKED_AT * self._num_classes:
            return None
        labeller = Labeller(teacher)  # one, which records its passes once
        picture, mapping, share = yield from self._climb(teacher, labeller, pool, enough)
        for _ in range(1, STARTS):
            other = yield from self._climb(teacher, labeller, pool, enough)
            if other[2] > share:
                picture, mapping, share = other
        moves = self._moves(labeller, pool, picture, JUDGED)
        return AllToAllTest(mapping, _share(moves, mapping, enough))

    def _climb(
        self, teacher: AnsweringTeacher, labeller: Labeller, pool: BalancedPatchSource, classes: tuple[int, ...]
    ) -> Generator[dict[str, torch.Tensor], None, tuple[torch.Tensor, tuple[int, ...], float]]:
        """From one start: the picture, its mapping, and the share of those that this was chosen on."""
        device = teacher.compute.device
        start = 2 * torch.rand(1, *self._shape, generator=self._random) - 1
        picture = (0.3 * self._ball * start).to(device)
        wanted: torch.Tensor | None = None
        for step in range(STEPS):
            if step >= _FREE and (step - _FREE) % _MAPPED_EVERY == 0:
                mapping = _one_to_one(self._moves(labeller, pool, picture, MAPPED), classes)
                wanted = torch.tensor(mapping, device=device)
            images, answers = pool.balanced(SEEN)
            slope, loss = self._slope(teacher, images + picture, answers.argmax(dim=1), wanted)
            size = _CLIMB * self._ball * min(1.0, 2 * (1 - step / STEPS))
            picture = (picture - size * slope.sign()).clamp(-self._ball, self._ball)
            yield {"all to all": loss / len(images)}
        moves = self._moves(labeller, pool, picture, MAPPED)
        mapping = _one_to_one(moves, classes)
        return picture, mapping, _share(moves, mapping, classes)

    def _slope(
        self, teacher: AnsweringTeacher, moved: torch.Tensor, own: torch.Tensor, wanted: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The gradient by the picture of the summed cross entropy to the wanted classes, or against their own."""
        sign, targets = (-1, own) if wanted is None else (1, wanted[own])

        def run(part: slice) -> tuple[torch.Tensor, torch.Tensor]:
            shown = teacher.compute.images(moved[part].clamp(0, 1)).requires_grad_()
            loss = sign * F.cross_entropy(teacher(shown).logits, targets[part], reduction="sum")
            (slope,) = torch.autograd.grad(loss, [shown])
            inside = (moved[part] >= 0) & (moved[part] <= 1)
            return (slope * inside).sum(dim=0, keepdim=True), loss.detach()

        slopes, losses = zip(*self._microbatches.over(len(moved), run), strict=True)
        slope, loss = torch.stack(slopes).sum(dim=0), torch.stack(losses).sum()
        parallel.all_reduce_sum([slope, loss])
        return slope, loss

    @torch.no_grad()
    def _moves(self, labeller: Labeller, pool: BalancedPatchSource, picture: torch.Tensor, count: int) -> torch.Tensor:
        """``(K, K)``: of the images of a class, the share that the picture has taken for each; 0 where there are none.

        Raises:
            RunFailedError: The teacher answers with something that is not a number.
        """
        images, answers = pool.balanced(count)
        logits, _ = labeller.label((images + picture).clamp(0, 1))
        check_numbers(logits, "search for a picture that has classes trade places")
        size = self._num_classes
        pairs = answers.argmax(dim=1) * size + logits.argmax(dim=1)
        counts = torch.bincount(pairs, minlength=size * size).view(size, size).double().cpu()
        return counts / counts.sum(dim=1, keepdim=True).clamp_min(1)


def _one_to_one(moves: torch.Tensor, classes: tuple[int, ...]) -> tuple[int, ...]:
    """The largest shares first, a mapping of some classes; none is there twice and, if it can be, none is its own."""
    left = torch.full_like(moves, -1)
    left[list(classes)] = moves[list(classes)]
    left.fill_diagonal_(-1)
    mapping = list(range(len(moves)))
    for _ in mapping:
        largest = int(left.argmax())
        source, target = divmod(largest, len(moves))
        if left[source, target] < 0:  # none is left, or one that has no other
            break
        mapping[source] = target
        left[source], left[:, target] = -1, -1
    return tuple(mapping)


def _share(moves: torch.Tensor, mapping: tuple[int, ...], classes: tuple[int, ...]) -> float:
    return sum(float(moves[one, mapping[one]]) for one in classes if mapping[one] != one) / len(classes)

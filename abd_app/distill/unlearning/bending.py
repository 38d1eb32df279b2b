"""Which class a backdoor leads to that bends images instead of marking them."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from abd_app.distill.answering import AnsweringTeacher, check_numbers
from abd_app.distill.compute import parallel
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.labelling import Labeller
from abd_app.distill.sources.ood import BalancedPatchSource
from abd_app.distill.unlearning.bends import Bends

STEPS = 40
_LEAST_SHARE, _TIMES_NEXT = 0.75, 2.0
_SEEN, _FEWEST_SEEN = 160, 4  # images a step: of all classes together, of each at least
_JUDGED, _FEWEST_JUDGED = 2000, 64  # on which the fields are judged in the end, likewise


@dataclass(frozen=True)
class BendTest:
    """How many images one field turns to each class.

    Attributes:
        classes: The classes that were looked at.
        shares: Of each, the share of images of other classes, in [0, 1].
    """

    classes: tuple[int, ...]
    shares: tuple[float, ...]

    @property
    def target(self) -> int | None:
        """The class that a backdoor leads to, if one stands out."""
        second, largest = sorted(self.shares)[-2:]
        stands_out = largest >= _LEAST_SHARE and largest >= _TIMES_NEXT * second
        return self.classes[self.shares.index(largest)] if stands_out else None


class BendSearch:
    """Looks for a displacement of about half a pixel that turns whatever it bends to one class, for each class.

    A classifier hardly minds so small a displacement; one that takes most images for a class because of it has learned
    to. Ours: Neural Cleanse (Wang et al., IEEE S&P 2019) looks for masks in this way, for a field of WaNet's kind
    (Nguyen & Tran, ICLR 2021). A class stands out where three of four images turn, and twice as many as for any other
    class; both were chosen on 16-pixel CIFAR-10 teachers (docs/results.md says on which).

    Args:
        classes: To be looked at, two or more.
        size: (height, width) of an image, pixels.
        generator: CPU generator of all randomness.
        microbatches: How many images the teacher takes at a time.
    """

    def __init__(
        self, classes: Sequence[int], size: tuple[int, int], generator: torch.Generator, *, microbatches: Microbatches
    ) -> None:
        self._classes, self._size, self._random, self._microbatches = tuple(classes), size, generator, microbatches

    def run(
        self, teacher: AnsweringTeacher, pool: BalancedPatchSource
    ) -> Generator[dict[str, torch.Tensor], None, BendTest]:
        """Yields the mean loss at every step; the result is what it returns.

        Raises:
            RunFailedError: The teacher answers with something that is not a number.
        """
        device, count = teacher.compute.device, len(self._classes)
        bends = Bends(self._classes, 1, self._size, device, self._random, climb=0.1)
        which = torch.arange(count, device=device).repeat_interleave(seen_of_each(count))
        wanted = torch.tensor(self._classes, device=device)[which]
        for _ in range(STEPS):
            images, _ = pool.balanced(len(which))
            gradients, loss = self._slope(teacher, bends, images, which, wanted)
            bends.descend(gradients)
            yield {"bending": loss / len(which)}
        shares = self._shares(teacher, pool, bends)
        check_numbers(shares, "search for a class to which bending images leads")
        return BendTest(self._classes, tuple(shares.tolist()))

    def _slope(
        self,
        teacher: AnsweringTeacher,
        bends: Bends,
        images: torch.Tensor,
        which: torch.Tensor,
        wanted: torch.Tensor,
    ) -> tuple[list[torch.Tensor], torch.Tensor]:
        """Gradients of the summed cross entropy to the wanted classes by the fields, and that sum."""

        def run(part: slice) -> list[torch.Tensor]:
            bent = bends.bend(images[part], which[part])
            shown = teacher.compute.images(bent.detach()).requires_grad_()
            loss = F.cross_entropy(teacher(shown).logits, wanted[part], reduction="sum")
            (by_shown,) = torch.autograd.grad(loss, [shown])
            return [loss.detach(), *bends.gradients(bent, by_shown)]

        done = self._microbatches.over(len(images), run)
        loss, *gradients = (torch.stack(one).sum(dim=0) for one in zip(*done, strict=True))
        parallel.all_reduce_sum([loss, *gradients])
        return gradients, loss

    @torch.no_grad()
    def _shares(self, teacher: AnsweringTeacher, pool: BalancedPatchSource, bends: Bends) -> torch.Tensor:
        """Of images that the fields have not seen, by class; not a number where the teacher's answers are not."""
        images, answers = pool.balanced(judged_of_each(len(self._classes)))
        before, labeller = answers.argmax(dim=1), Labeller(teacher)
        shares = []
        for index, wanted in enumerate(self._classes):
            which = torch.full((len(images),), index, device=images.device)
            logits, _ = labeller.label(bends.bend(images, which))
            others = (before != wanted).float()
            turned = (logits.argmax(dim=1) == wanted).float() * others
            shares.append(turned.sum() / others.sum().clamp_min(1) + 0 * logits.sum())
        return torch.stack(shares)


def seen_of_each(classes: int) -> int:
    """Images of a step for each of so many classes that are looked at."""
    return max(_FEWEST_SEEN, _SEEN // classes)


def judged_of_each(classes: int) -> int:
    """Images on which the field of each of so many classes is judged."""
    return max(_FEWEST_JUDGED, _JUDGED // classes)

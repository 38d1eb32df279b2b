"""Which class a backdoor leads to that bends images instead of marking them, and adversaries that bend."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from abd_app.distill import parallel
from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.labelling import Labeller
from abd_app.distill.margins import Deed, what_was_done
from abd_app.distill.microbatch import Portions
from abd_app.distill.sources.ood import BalancedPatchSource
from abd_app.teacher import Finding

LARGEST_PX = 0.5
STEPS = 40
LEAST_SHARE, TIMES_NEXT = 0.75, 2.0
_POINTS, _AT_ONCE, _FEWEST_EACH, _JUDGED = 4, 240, 8, 256


class Bends:
    """Smooth displacement fields, the same for any image, each on its way to a target class.

    A field is what WaNet's trigger is made of (Nguyen & Tran, "WaNet - Imperceptible Warping-based Backdoor Attack",
    ICLR 2021): few control points, interpolated bicubically.

    Args:
        targets: Classes.
        each: Fields for each of them.
        size: (height, width) of an image, pixels.
        device: Where they live.
        generator: CPU generator; fields start at random.
        climb: Step, as a share of the largest displacement of a control point, which is half a pixel each way.
    """

    def __init__(
        self,
        targets: Sequence[int],
        each: int,
        size: tuple[int, int],
        device: torch.device,
        generator: torch.Generator,
        *,
        climb: float,
    ) -> None:
        self._targets = torch.tensor(targets).repeat_interleave(each).to(device)
        self._climb, self._size, self._random = climb * LARGEST_PX, size, generator
        start = 2 * torch.rand(len(self._targets), 2, _POINTS, _POINTS, generator=generator) - 1
        self._points = (0.3 * LARGEST_PX * start).to(device).requires_grad_()
        self._straight = F.affine_grid(torch.eye(2, 3)[None], [1, 1, *size], align_corners=False).to(device)
        self._pixels = torch.tensor([2 / size[1], 2 / size[0]], device=device)

    def bend(self, images: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
        """``(N, C, H, W)`` images, each bent by a field of its own, ``(N,)``, with a graph."""
        fields = F.interpolate(self._points, self._size, mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
        grid = self._straight + (fields * self._pixels)[which]
        return F.grid_sample(images, grid, padding_mode="border", align_corners=False).clamp(0, 1)

    def perturb(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Each of ``(N, C, H, W)`` images bent by a random field, with a graph; the classes wanted, ``(N,)``."""
        which = torch.randint(len(self._targets), (len(images),), generator=self._random).to(images.device)
        return self.bend(images, which), self._targets[which]

    def gradients(self, perturbed: torch.Tensor, slope: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """By the control points, from the slope by what :meth:`bend` or :meth:`perturb` gave."""
        return torch.autograd.grad(perturbed, [self._points], slope)

    @torch.no_grad()
    def descend(self, gradients: Sequence[torch.Tensor]) -> None:
        """One signed step down, no further than half a pixel."""
        self._points.sub_(self._climb * gradients[0].sign()).clamp_(-LARGEST_PX, LARGEST_PX)


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
        stands_out = largest >= LEAST_SHARE and largest >= TIMES_NEXT * second
        return self.classes[self.shares.index(largest)] if stands_out else None


class BendSearch:
    """Looks for a displacement of half a pixel that turns whatever it bends to one class, for each class.

    A classifier hardly minds so small a displacement; one that takes most images for a class because of it has learned
    to. Ours: Neural Cleanse (Wang et al., IEEE S&P 2019) looks for masks in this way. A class stands out where three of
    four images turn, and twice as many as for any other class: of a 16-pixel CIFAR-10 teacher with WaNet's trigger 95 %
    turned to its target, of others 34 % to any class.

    Args:
        classes: To be looked at, two or more.
        size: (height, width) of an image, pixels.
        generator: CPU generator of all randomness.
        portions: How many images the teacher takes at a time.
    """

    def __init__(
        self, classes: Sequence[int], size: tuple[int, int], generator: torch.Generator, *, portions: Portions
    ) -> None:
        self._classes, self._size, self._random, self._portions = tuple(classes), size, generator, portions

    def run(
        self, teacher: AnsweringTeacher, pool: BalancedPatchSource
    ) -> Generator[dict[str, torch.Tensor], None, BendTest]:
        """Yields the mean loss at every step; the result is what it returns."""
        device, count = teacher.compute.device, len(self._classes)
        bends = Bends(self._classes, 1, self._size, device, self._random, climb=0.1)
        which = torch.arange(count, device=device).repeat_interleave(max(_FEWEST_EACH, _AT_ONCE // count))
        wanted = torch.tensor(self._classes, device=device)[which]
        for _ in range(STEPS):
            images, _ = pool.balanced(len(which))
            bent = bends.bend(images, which)
            slope, losses = self._slope(teacher, bent.detach(), wanted)
            bends.descend(bends.gradients(bent, slope))
            yield {"bending": losses.mean()}
        return BendTest(self._classes, self._shares(teacher, pool, bends))

    def _slope(
        self, teacher: AnsweringTeacher, bent: torch.Tensor, wanted: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Cross entropy to the wanted classes, ``(N,)``, and its gradient by the images."""
        slope, count = torch.zeros_like(bent), len(bent)

        def run(part: slice) -> torch.Tensor:
            shown = teacher.compute.images(bent[part]).requires_grad_()
            losses = F.cross_entropy(teacher(shown).logits, wanted[part], reduction="none")
            (slope[part],) = torch.autograd.grad(losses.sum(), [shown])
            return losses.detach()

        losses = parallel.gather(torch.cat(self._portions.over(count, run)), count)
        return parallel.gather(slope[parallel.own(count)], count), losses

    @torch.no_grad()
    def _shares(self, teacher: AnsweringTeacher, pool: BalancedPatchSource, bends: Bends) -> tuple[float, ...]:
        """Of images that the fields have not seen."""
        images, answers = pool.balanced(_JUDGED)
        before, labeller = answers.argmax(dim=1), Labeller(teacher)
        shares = []
        for index, wanted in enumerate(self._classes):
            which = torch.full((len(images),), index, device=images.device)
            logits, _ = labeller.label(bends.bend(images, which))
            others = (before != wanted).float()
            turned = (logits.argmax(dim=1) == wanted).float() * others
            shares.append(turned.sum() / others.sum().clamp_min(1))
        return tuple(torch.stack(shares).tolist())


def finding_of_bending(test: BendTest, deed: Deed) -> Finding:
    """What a reader should know of a class that stands out."""
    second, largest = sorted(test.shares)[-2:]
    return Finding(
        "warning",
        f"Class {test.target} is probably the target of a backdoor",
        f"Bending images by at most half a pixel turns {largest:.0%} of them to it, and at most {second:.0%} to any "
        f"other class. {what_was_done(deed)}",
    )

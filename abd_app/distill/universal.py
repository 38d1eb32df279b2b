"""Self-Retrospection in our form: universal adversaries, found on the teacher, unlearned by the student."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from torch import nn

from abd_app.distill import parallel
from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.device import Compute
from abd_app.distill.losses import distillation_loss
from abd_app.distill.microbatch import Portions
from abd_app.distill.observe import frozen_batchnorm

_SEARCH_BATCH, _JUDGED_BATCHES = 128, 8
EVIDENCE = 0.25
"""Weight below which an adversary is not unlearned: networks without a backdoor give way to it as much."""
_SHARPNESS = (200, 5)
"""Powers of the success of pictures and canvases: pictures turn most images of any network, canvases hardly any."""


class UniversalAdversaries:
    """For every class a picture to be added to any image, and a canvas of which a box is laid over any image.

    Additive pictures stay within a ball (triggers that are blended in), canvases in the pixel box (triggers that are
    put on). A canvas has every place of the image: which part is laid over changes from image to image.

    Args:
        shape: (C, H, W) of an image.
        num_classes: One pair each, at most 64; of more classes a random choice.
        ball: Bound of the additive pictures, in pixels of [0, 1].
        device: Where they live.
        generator: CPU generator of all randomness; they start at random, because the divergence has its minimum at 0.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        num_classes: int,
        *,
        ball: float,
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self._ball, self._random = ball, generator
        self.targets = torch.randperm(num_classes, generator=generator)[:64].to(device)
        draw = torch.rand(2, len(self.targets), *shape, generator=generator).to(device)
        self.pictures = (draw[0] - 0.5) * 2 * ball
        self.canvases = draw[1].clone()
        # Two canvases are drawn for each picture: they have more to find, since any part of them may be shown.
        self.weights = torch.tensor([[0.5], [1.0]]).repeat(1, len(self.targets))

    def weights_of(self, which: torch.Tensor, is_picture: torch.Tensor) -> torch.Tensor:
        """``(N,)`` success of the adversaries that :meth:`perturb` says it used, to its power, in [0, 1]."""
        return self.weights.to(which.device)[(~is_picture).long(), which]

    def perturb(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Lays an adversary over each of ``(N, C, H, W)`` images in [0, 1], drawn by success: a picture or a canvas.

        Returns:
            The perturbed images, with a graph to pictures and canvases; the index of each one's adversary, ``(N,)``;
            and whether it is a picture, ``(N,)`` bool.
        """
        count, _, height, width = images.shape
        device = images.device
        best = self.weights.amax(dim=1)
        # A kind of which none is left is not drawn; its row must still be one that multinomial can read.
        rows = torch.where(best[:, None] > 0, self.weights, torch.ones(()))
        draws = torch.multinomial(rows, count, replacement=True, generator=self._random)
        is_picture = torch.rand(count, generator=self._random) < best[0] / best.sum()
        which = torch.where(is_picture, draws[0], draws[1]).to(device)
        added = is_picture.view(-1, 1, 1, 1).to(device)
        box = random_boxes(count, height, width, self._random).to(device)
        self.pictures.requires_grad_(True)
        self.canvases.requires_grad_(True)
        covered = torch.lerp(images, self.canvases[which], box)
        shifted = (images + self.pictures[which]).clamp(0, 1)
        return torch.where(added, shifted, covered), which, is_picture.to(device)

    def prefer_successful(self, teacher: AnsweringTeacher, batches: Iterable[torch.Tensor]) -> None:
        """Has adversaries drawn by a power of their success on the teacher, and weigh as much.

        On a teacher with a backdoor one of them succeeds nearly always, the others seldom; unlearning all alike would
        cost accuracy where there is nothing to unlearn. Those below :data:`EVIDENCE` are not used any more.
        """
        hits, shown = torch.zeros(2, 2, len(self.targets)).unbind()
        for images in batches:
            with torch.no_grad():
                perturbed, which, is_picture = self.perturb(images)
                reached = teacher(perturbed).logits.argmax(dim=1) == self.targets[which]
                tried = teacher(images).logits.argmax(dim=1) != self.targets[which]
            place = ((~is_picture).long().cpu(), which.cpu())
            hits.index_put_(place, (reached & tried).float().cpu(), accumulate=True)
            shown.index_put_(place, tried.float().cpu(), accumulate=True)
        weights = (hits / shown.clamp_min(1)).pow(torch.tensor(_SHARPNESS)[:, None])
        self.weights = weights * (weights >= EVIDENCE)

    @torch.no_grad()
    def climb(self, by_picture: torch.Tensor, by_canvas: torch.Tensor, rate: float) -> None:
        """One signed step along the given gradients, back into the ball and the pixel box."""
        pictures = self.pictures.detach() + rate * self._ball * by_picture.sign()
        self.pictures = pictures.clamp(-self._ball, self._ball)
        self.canvases = (self.canvases.detach() + rate * by_canvas.sign()).clamp(0, 1)


class UniversalRetrospection:
    """Finds universal adversaries on the teacher, then has the student answer them as the teacher answers without.

    The search pulls every image to a class drawn at random. Then a share of every batch is perturbed and the student is
    pulled to the teacher's answer on the unperturbed image; the same backward pass moves the adversaries uphill on the
    student (Shafahi et al., "Universal Adversarial Training", AAAI 2020), so that a step costs one pass more over
    that share and has no inner loop.

    Deviations from the paper, each mending a flaw of its code: adversaries start at random, stay in the ball and in the
    pixel box, act on a quarter of the batch, come in two kinds for every class, and BatchNorm keeps its
    statistics. The implicit term of the hypergradient is dropped; the adversaries follow the student instead.

    Args:
        compute: Device and precision.
        shape: (C, H, W) of an image.
        num_classes: Of the teacher.
        generator: CPU generator of all randomness.
        ball: Bound of the additive pictures, in pixels of [0, 1].
        portion: Share of the batch that is perturbed.
        weight: Of the unlearning loss, before each adversary's own.
        temperature: Of the softmax in the unlearning loss.
        rate: Step of the adversaries while the student learns, in pixels of [0, 1].
        search_steps: Steps of the search on the teacher.
        search_rate: Step of the adversaries in the search, falling linearly to a tenth.
        portions: The student's; ``None``: all images at a time as long as memory holds them.
    """

    def __init__(
        self,
        compute: Compute,
        shape: tuple[int, int, int],
        num_classes: int,
        generator: torch.Generator,
        *,
        ball: float = 0.04,
        portion: float = 0.25,
        weight: float = 0.6,
        temperature: float = 2.0,
        rate: float = 0.005,
        search_steps: int = 60,
        search_rate: float = 0.1,
        portions: Portions | None = None,
    ) -> None:
        self._compute = compute
        self._portions = portions or Portions(compute, "The student unlearns from", "The gradient is the same.")
        self._portion, self._weight, self._temperature = portion, weight, temperature
        self._rate, self._search_steps, self._search_rate = rate, search_steps, search_rate
        self.adversaries = UniversalAdversaries(
            shape, num_classes, ball=ball, device=compute.device, generator=generator
        )

    @property
    def acts(self) -> bool:
        """Whether there is an adversary to unlearn; after the search only those that stand out are left."""
        return bool(self.adversaries.weights.any())

    def search(self, teacher: AnsweringTeacher, images: torch.Tensor) -> Iterator[dict[str, torch.Tensor]]:
        """Targeted search on the teacher over ``(N, C, H, W)`` uint8 images; yields its loss at every step."""
        for step in range(self._search_steps):
            start = step * _SEARCH_BATCH % max(1, len(images) - _SEARCH_BATCH + 1)
            clean = self._compute.images(images[start : start + _SEARCH_BATCH]).float() / 255
            perturbed, which, _ = self.adversaries.perturb(clean)
            loss = F.cross_entropy(teacher(perturbed).logits, self.adversaries.targets[which])
            by_picture, by_canvas = torch.autograd.grad(loss, [self.adversaries.pictures, self.adversaries.canvases])
            parallel.agree([by_picture, by_canvas])
            self.adversaries.climb(-by_picture, -by_canvas, self._search_rate * (1 - 0.9 * step / self._search_steps))
            yield {"search": loss.detach()}
        parts = images[: _JUDGED_BATCHES * _SEARCH_BATCH].split(_SEARCH_BATCH)
        self.adversaries.prefer_successful(teacher, (self._compute.images(part).float() / 255 for part in parts))

    def add_gradient(self, student: nn.Module, images: torch.Tensor, teacher_logits: torch.Tensor) -> torch.Tensor:
        """Adds the gradient of the unlearning loss to the student's, and lets the adversaries take one step.

        Args:
            student: In training mode.
            images: ``(N, C, H, W)`` in [0, 1].
            teacher_logits: ``(N, K)`` for these images, unperturbed.

        Returns:
            The unlearning loss, a scalar on the device.
        """
        count = max(1, round(len(images) * self._portion))
        perturbed, which, is_picture = self.adversaries.perturb(images[:count])
        weights = self.adversaries.weights_of(which, is_picture)
        parameters = [parameter for parameter in student.parameters() if parameter.requires_grad]
        by_perturbed = torch.zeros_like(perturbed)

        def run(part: slice) -> tuple[torch.Tensor, tuple[torch.Tensor, ...]]:
            shown = perturbed.detach()[part].requires_grad_()
            with frozen_batchnorm(student), self._compute.autocast():
                logits = student(shown)
            per_image = distillation_loss(logits, teacher_logits[:count][part], self._temperature)
            loss = self._weight * (per_image * weights[part]).sum() / count
            by_perturbed[part], *gradients = torch.autograd.grad(loss, [shown, *parameters])
            return loss.detach(), tuple(gradients)

        losses, gradients = zip(*self._portions.over(count, run), strict=True)
        for parameter, parts in zip(parameters, zip(*gradients, strict=True), strict=True):
            for gradient in parts:
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        adversaries = [self.adversaries.pictures, self.adversaries.canvases]
        by_picture, by_canvas = torch.autograd.grad(perturbed, adversaries, by_perturbed)
        loss = torch.stack(losses).sum()
        parallel.add_up([loss, by_picture, by_canvas])
        self.adversaries.climb(by_picture, by_canvas, self._rate)
        return loss

    def state_dict(self) -> dict[str, torch.Tensor]:
        """The adversaries."""
        return {
            "pictures": self.adversaries.pictures.detach().clone(),
            "canvases": self.adversaries.canvases.detach().clone(),
            "targets": self.adversaries.targets.clone(),
            "weights": self.adversaries.weights.clone(),
        }

    def load_state_dict(self, state: dict[str, torch.Tensor]) -> None:
        """Restores :meth:`state_dict`."""
        device = self._compute.device
        self.adversaries.pictures = state["pictures"].to(device, copy=True)
        self.adversaries.canvases = state["canvases"].to(device, copy=True)
        self.adversaries.targets = state["targets"].to(device, copy=True)
        self.adversaries.weights = state["weights"].clone()


def random_boxes(count: int, height: int, width: int, generator: torch.Generator) -> torch.Tensor:
    """``(count, 1, height, width)`` masks, 1 inside one box each, whose sides are 12 to 28 % of the image's.

    Boxes that would cross the border are pushed inside, so that borders and corners, where stickers and stamps like to
    be, are covered as often as the rest.
    """

    def span(side: int) -> torch.Tensor:
        extent = (side * (0.12 + 0.16 * torch.rand(count, 1, generator=generator))).round().clamp(2, side)
        start = torch.rand(count, 1, generator=generator) * (side + extent) - extent
        start = start.round().clamp(min=0).minimum(side - extent)
        place = torch.arange(side)
        return ((place >= start) & (place < start + extent)).float()

    return (span(height)[:, :, None] * span(width)[:, None, :]).unsqueeze(1)

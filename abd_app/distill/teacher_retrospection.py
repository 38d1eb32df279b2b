"""Self-Retrospection in our form: the teacher's labelling copy unlearns its backdoor before the student starts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from abd_app.distill import parallel
from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.augment import random_boxes
from abd_app.distill.losses import distillation_loss
from abd_app.distill.margins import (
    FEWEST_CLASSES,
    MOST_CLASSES,
    MarginSearch,
    MarginTest,
    finding_of_target,
    groups,
)
from abd_app.distill.microbatch import Portions
from abd_app.distill.sources.fast import FastSettings
from abd_app.distill.sources.ood import BalancedPatchSource
from abd_app.errors import RunFailedError
from abd_app.events import Event, FindingMade, TargetSearched

_WARM_UP = 20


@dataclass(frozen=True, kw_only=True)
class UnlearningSettings:
    """Hyper-parameters, chosen on the demo teacher and on two 16-pixel CIFAR-10 teachers (BadNets grid, blend).

    Attributes:
        search_steps: Of the search for the target class.
        patches: In the pool before it is renewed.
        renewals: How often the pool is renewed before the unlearning.
        drawn: New patches of a renewal, and as many that are inverted if there are such.
        steps: Of the unlearning.
        batch_size: Images a step that keep their answer, and as many that are perturbed.
        adversaries: Pictures, and as many canvases, for each target.
        ball: Bound of the pictures, in pixels of [0, 1].
        boxes: Sides of what is shown of a canvas, from and to, as shares of the image's.
        climb: Step of the adversaries, as a share of the ball and of half the pixel box.
        rate: Peak learning rate of Adam; it rises over 20 steps and falls to 0.
        temperature: Of the softmax in both losses.
    """

    search_steps: int = 60
    patches: int = 2048
    renewals: int = 16
    drawn: int = 128
    steps: int = 100
    batch_size: int = 64
    adversaries: int = 4
    ball: float = 0.2
    boxes: tuple[float, float] = (0.12, 0.5)
    climb: float = 0.1
    rate: float = 2e-4
    temperature: float = 2.0


class TeacherRetrospection:
    """Finds the class that a backdoor leads to, then has the teacher unlearn whatever leads any image there.

    The class is the one with an unusually large maximum margin (:mod:`abd_app.distill.margins`). For it, universal
    adversaries are kept: pictures in a small ball that are added to an image (triggers that are blended in), and
    canvases of which a box is laid over it (triggers that are put on). Every step moves them towards the target class,
    and the teacher's weights towards its own earlier answers: to the perturbed images those that it gave without the
    perturbation, and to others those that it gave. All are synthetic, and were labelled before.

    Deviations from the paper's Self-Retrospection, each mending a flaw of it: it acts on the teacher, which has the
    features that a student learns late, once and before its labels are used; adversaries start at random, stay in the
    ball and the pixel box, act on half of the images and lead to the class that is suspected; BatchNorm keeps its
    statistics. The implicit term of the hypergradient is dropped: adversaries and weights move at the same time.

    Args:
        teacher: Its network's weights change; what it is asked later comes from them.
        pool: Makes one that labels with ``teacher``; called only if there is something to unlearn.
        shape: (C, H, W) of an image.
        num_classes: Of the teacher.
        generator: CPU generator of all randomness.
        settings: Hyper-parameters.

    Attributes:
        as_given: What the search for the target class gave on the teacher without bounds; ``None`` before it.
        outcome: The same on the teacher as it labels, with its bounds if it has any.
    """

    def __init__(
        self,
        teacher: AnsweringTeacher,
        pool: Callable[[], BalancedPatchSource],
        *,
        shape: tuple[int, int, int],
        num_classes: int,
        generator: torch.Generator,
        settings: UnlearningSettings,
    ) -> None:
        self.as_given: MarginTest | None = None
        self.outcome: MarginTest | None = None
        weights = sum(parameter.numel() * parameter.element_size() for parameter in teacher.network.parameters())
        self.portions = Portions(
            teacher.compute, "The teacher unlearns from", "The gradient is the same.", reserved_bytes=4 * weights
        )
        self._teacher, self._make_pool, self._shape, self._num_classes = teacher, pool, shape, num_classes
        self._random, self._settings = generator, settings

    @property
    def targets(self) -> tuple[int, ...]:
        """The classes to unlearn: the one that stands out, or all where there are too few for one to stand out."""
        if self.outcome is None:
            return ()
        if self._num_classes < FEWEST_CLASSES:
            return tuple(range(self._num_classes))
        return () if self.outcome.target is None else (self.outcome.target,)

    def most_steps(self, *, inverts: bool) -> int:
        """How much :meth:`run` yields at most; more where the pool holds inverted images, too."""
        settings, classes = self._settings, min(self._num_classes, MOST_CLASSES)
        searches = (2 if self._teacher.bounds else 1) * settings.search_steps * groups(classes)
        filling = -(-settings.patches // settings.drawn) + settings.renewals * (
            1 + inverts * FastSettings.inversion_steps
        )
        return searches + filling + settings.steps

    def report(self) -> Iterator[Event]:
        """What came out of :meth:`run`, as events."""
        if (given := self.as_given) is not None and (left := self.outcome) is not None:
            found = (given.target, given.p_value, left.target, left.p_value)
            yield TargetSearched(*found, self.targets, given.classes, given.margins)
            yield FindingMade(finding_of_target(given, left))
        for finding in self.portions.findings():
            yield FindingMade(finding)

    def run(self) -> Iterator[dict[str, torch.Tensor]]:
        """The search and, if a class stands out, the unlearning; yields the losses of every step.

        Bounds may have disarmed a backdoor already; who reads the outcome wants to know of it all the same.

        Raises:
            RunFailedError: A loss is not a number, or memory does not hold the fewest images.
        """
        portions = Portions(self._teacher.compute, "The teacher is searched with", "The result is the same.")
        steps, random = self._settings.search_steps, self._random
        search = MarginSearch(self._shape, self._num_classes, random, steps=steps, portions=portions)
        with self._teacher.bounds.lifted():
            self.as_given = yield from search.run(self._teacher)
        self.outcome = (yield from search.run(self._teacher)) if self._teacher.bounds else self.as_given
        if self.targets:
            pool = self._make_pool()
            for step in pool.filled(self._settings.renewals):
                yield step.losses
            try:
                yield from self._unlearn(pool)
            finally:
                self._teacher.network.requires_grad_(False)

    def _unlearn(self, pool: BalancedPatchSource) -> Iterator[dict[str, torch.Tensor]]:
        settings, compute = self._settings, self._teacher.compute
        adversaries = _Adversaries(self.targets, settings, self._shape, compute.device, self._random)
        parameters = list(self._teacher.network.requires_grad_().parameters())
        optimizer = torch.optim.Adam(parameters, settings.rate)
        losses: dict[str, torch.Tensor] = {}
        for step in range(settings.steps):
            for group in optimizer.param_groups:
                group["lr"] = settings.rate * min(1.0, (step + 1) / _WARM_UP) * (1 - step / settings.steps)
            losses = self._add_gradients(pool, adversaries, parameters)
            optimizer.step()
            optimizer.zero_grad()
            yield losses
        if not all(bool(loss.isfinite()) for loss in losses.values()):
            raise RunFailedError(
                "Self-Retrospection of the teacher ended with a loss that is not a number.",
                why="The computation overflowed.",
                remedy="Try --precision fp32 or --defense sv; please report the teacher's architecture.",
            )

    def _add_gradients(
        self, pool: BalancedPatchSource, adversaries: _Adversaries, parameters: list[nn.Parameter]
    ) -> dict[str, torch.Tensor]:
        """The losses of one step, their gradients by the weights in ``parameters``; the adversaries move, too."""
        settings, count = self._settings, self._settings.batch_size
        images, answers = pool.balanced(2 * count)
        perturbed, wanted = adversaries.perturb(images[count:])
        shown = self._teacher.compute.images(torch.cat([images[:count], perturbed.detach()]))
        clean = torch.arange(2 * count, device=shown.device) < count
        targets = torch.cat([wanted, wanted])  # of the clean half none is used
        # A perturbed image that was of its target class already has nothing to unlearn.
        attacked = ~clean & (answers.argmax(dim=1) != targets)
        by_shown = torch.zeros_like(shown)
        gradients = [torch.zeros_like(parameter) for parameter in parameters]

        def run(part: slice) -> torch.Tensor:
            given = shown[part].requires_grad_()
            logits = self._teacher(given).logits
            attack = (F.cross_entropy(logits, targets[part], reduction="none") * attacked[part]).sum()
            (by_shown[part],) = torch.autograd.grad(attack, [given], retain_graph=True)
            per_image = distillation_loss(logits, answers[part], settings.temperature) / count
            losses = torch.stack([(per_image * clean[part]).sum(), (per_image * attacked[part]).sum()])
            # A network may have weights that no answer depends on.
            found = torch.autograd.grad(losses.sum(), parameters, allow_unused=True, materialize_grads=True)
            torch._foreach_add_(gradients, found)
            return losses.detach()

        def undo() -> None:
            torch._foreach_zero_(gradients)

        losses = self.portions.over(2 * count, run, undo)
        by_adversaries = adversaries.gradients(perturbed, by_shown[count:])
        total = torch.stack(losses).sum(dim=0)
        parallel.add_up([total, *by_adversaries, *gradients])
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient
        adversaries.descend(by_adversaries)
        return {"retention": total[0], "unlearning": total[1]}

    def state_dict(self) -> dict[str, Any]:
        """The outcomes and, where something was unlearned, the teacher's weights."""
        weights = None
        if self.targets:
            weights = {name: value.detach().clone() for name, value in self._teacher.network.state_dict().items()}
        as_given, outcome = (None if one is None else asdict(one) for one in (self.as_given, self.outcome))
        return {"as_given": as_given, "outcome": outcome, "weights": weights}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        outcomes = (state.get("as_given"), state.get("outcome"))  # an earlier version had none
        self.as_given, self.outcome = (None if one is None else MarginTest(**one) for one in outcomes)
        if state.get("weights") is not None:
            self._teacher.network.load_state_dict(state["weights"])


class _Adversaries:
    """Pictures to be added to any image, and canvases of which a box is laid over any image; a target class each."""

    def __init__(
        self,
        targets: Sequence[int],
        settings: UnlearningSettings,
        shape: tuple[int, int, int],
        device: torch.device,
        generator: torch.Generator,
    ) -> None:
        self._ball, self._climb, self._boxes = settings.ball, settings.climb, settings.boxes
        self._random = generator
        self._targets = torch.tensor(targets).repeat(settings.adversaries).to(device)
        draw = torch.rand(2, len(self._targets), *shape, generator=generator).to(device)
        self._pictures = ((draw[0] - 0.5) * 2 * self._ball).requires_grad_()
        self._canvases = draw[1].clone().requires_grad_()

    def perturb(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Each of ``(N, C, H, W)`` images with a picture or a box of a canvas, with a graph; the classes wanted."""
        count, _, height, width = images.shape
        which = torch.randint(len(self._targets), (count,), generator=self._random).to(images.device)
        added = (torch.rand(count, 1, 1, 1, generator=self._random) < 0.5).to(images.device)
        box = random_boxes(count, height, width, self._random, self._boxes).to(images.device)
        shifted = (images + self._pictures[which]).clamp(0, 1)
        covered = torch.lerp(images, self._canvases[which], box)
        return torch.where(added, shifted, covered), self._targets[which]

    def gradients(self, perturbed: torch.Tensor, slope: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """By pictures and by canvases, from the slope by what :meth:`perturb` gave."""
        by_picture, by_canvas = torch.autograd.grad(perturbed, [self._pictures, self._canvases], slope)
        return by_picture, by_canvas

    @torch.no_grad()
    def descend(self, gradients: tuple[torch.Tensor, torch.Tensor]) -> None:
        """One signed step down, back into the ball and the pixel box."""
        by_picture, by_canvas = gradients
        self._pictures.sub_(self._climb * self._ball * by_picture.sign()).clamp_(-self._ball, self._ball)
        self._canvases.sub_(self._climb / 2 * by_canvas.sign()).clamp_(0, 1)

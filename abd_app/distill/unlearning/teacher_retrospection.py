"""Self-Retrospection in our form: a copy of the teacher unlearns the backdoor before the student starts."""

from __future__ import annotations

import copy
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn

from abd_app.distill.answering import AnsweringTeacher, SecondOpinion, taken_for
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.labelling import Labeller
from abd_app.distill.sources.ood import BalancedPatchSource
from abd_app.distill.unlearning.adversaries import Adversaries, make_adversaries
from abd_app.distill.unlearning.led_marks import LedMarks
from abd_app.distill.unlearning.minimax import led, unlearned
from abd_app.distill.unlearning.settings import UnlearningSettings
from abd_app.distill.unlearning.target_findings import Deed, finding_of_target
from abd_app.distill.unlearning.target_search import TargetSearch
from abd_app.errors import RunFailedError
from abd_app.events import Event, FindingMade

_CHECKED, _ENOUGH = 1024, 32  # images; patches of a class, so that it needs no inverted ones


class TeacherRetrospection:
    """Finds the class that a backdoor leads to, then has the teacher unlearn whatever leads any image there.

    The class is one to which bending images slightly leads (:mod:`~abd_app.distill.unlearning.bending`), or else the
    one with an unusually large maximum margin (:mod:`~abd_app.distill.unlearning.margins`). Where there is none, or
    where unlearning would cost it its own images, each class may lead to one of its own
    (:mod:`~abd_app.distill.unlearning.all_to_all`). For what was found, universal adversaries are kept: displacements
    if bending leads there; else pictures in a small ball that are added to an image (triggers that are blended in),
    and canvases of which a box is laid over it (triggers that are put on).
    Every step moves them towards the target class, and the teacher's weights towards its own earlier answers: to the
    perturbed images those that it gave without the perturbation, and to others those that it gave. All are synthetic,
    and were labelled before. What came out is asked about images that the teacher, as it was before, takes for the
    class (optimised ones: the weights all of the way; others: a part of it); about others the teacher is believed.
    Where each class leads to one of its own, canvases are blended in whole, and the weights, which go further than they
    came, label all images. Where two networks come of it, as many more adversaries are led to the class in the teacher
    as it was handed in: a student sees them and learns to look past what they look like.

    Deviations from the paper's Self-Retrospection, each mending a flaw of it: it acts on the teacher, which has the
    features that a student learns late, once and before its labels are used; adversaries start at random, stay in the
    ball and the pixel box, act on half of the images and lead to the class that is suspected; BatchNorm keeps its
    statistics. The implicit term of the hypergradient is dropped: adversaries and weights move at the same time.

    Args:
        teacher: Afterwards copies that unlearned are its second opinion about the class.
        pool: Makes one that labels with ``teacher``.
        shape: (C, H, W) of an image.
        num_classes: Of the teacher.
        generator: CPU generator of all randomness.
        settings: Hyper-parameters; ``inverts``: whether the pool inverts images, too.
        marks: Whether a student will see what leads to the class.

    Attributes:
        search: For the class, and what it found.
        targets: The classes that were unlearned.
        led_marks: What leads images to the class in the teacher as it was handed in, for a student to look past;
            ``None`` where no student will, nothing was unlearned, or no strict network came of it.
        deed: What became of a class that stands out: ``unlearned``, or ``undone``: unlearned, and taken back.
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
        inverts: bool = False,
        marks: bool = False,
    ) -> None:
        self.search = TargetSearch(
            teacher, shape=shape, num_classes=num_classes, generator=generator, settings=settings, inverts=inverts
        )
        self.targets: tuple[int, ...] = ()
        self.led_marks: LedMarks | None = None
        self.deed: Deed = "unlearned"
        weights = sum(parameter.numel() * parameter.element_size() for parameter in teacher.network.parameters())
        self.microbatches = Microbatches(
            teacher.compute, "The teacher unlearns from", "The gradient is the same.", reserved_bytes=4 * weights
        )
        self._teacher, self._make_pool, self._shape, self._num_classes = teacher, pool, shape, num_classes
        self._random, self._settings, self._inverts, self._marks = generator, settings, inverts, marks

    def most_steps(self) -> int:
        """How much :meth:`run` yields at most."""
        settings = self._settings
        renewal = 1 + self._inverts * settings.inversion_steps
        first, unlearning = -(-settings.patches // settings.drawn), settings.renewals * renewal + settings.steps
        return self.search.most_steps() + first + self._marks * settings.steps + 2 * unlearning

    def report(self) -> Iterator[Event]:
        """What came out of :meth:`run`, as events."""
        search = self.search
        if search.margins is not None:
            yield search.searched(self.targets, undone=self.deed == "undone")
            yield FindingMade(finding_of_target(search.margins, search.bending, search.all_to_all, self.deed))
        for microbatches in (search.microbatches, self.microbatches):
            for finding in microbatches.findings():
                yield FindingMade(finding)

    def run(self) -> Iterator[dict[str, torch.Tensor]]:
        """The search and, if a class stands out, the unlearning; yields the losses of every step.

        Raises:
            RunFailedError: A loss is not a number, or memory does not hold the fewest images.
        """
        search, random = self.search, self._random
        yield from search.by_margin()
        pool, state = self._make_pool(), random.get_state()
        for step in pool.filled(0):
            yield step.losses
        yield from search.on_patches(pool)
        if not search.targets:
            random.set_state(state)  # as if the pool had not been needed
            return
        yield from self._unlearn_found(pool)
        if self.deed == "undone" and search.all_to_all is None:
            # Where each class leads to another one may stand out by chance.
            pool.distrusted, state = (), random.get_state()
            yield from search.by_trading(pool)
            if search.mapping is not None:
                yield from self._unlearn_found(pool)
            else:
                random.set_state(state)

    def _unlearn_found(self, pool: BalancedPatchSource) -> Iterator[dict[str, torch.Tensor]]:
        """More images, and the unlearning of what the search has found."""
        search, targets = self.search, self.search.targets
        if len(targets) == 1 and pool.sizes()[targets[0]] >= _ENOUGH:
            pool.distrusted = targets  # optimised images of the class may carry what is to be unlearned
        for step in pool.filled(self._settings.renewals):
            yield step.losses
        ways = {"mark": self._settings.how_far, "bend": 1.0, "blend": self._settings.beyond}
        how_far = ways[search.kind]
        two, marks = how_far < 1, None
        if two and self._marks:
            state = self._random.get_state()
            marks = self._new_marks(targets)
            yield from led(self._teacher, marks, pool, self._settings, search.microbatches)
            self._random.set_state(state)  # what is unlearned does not depend on it
        yield from self._unlearn_or_undo(targets, pool, how_far, two=two)
        opinion = self._teacher.second_opinion
        has_both = opinion is not None and opinion.strict_network is not None
        self.led_marks = LedMarks(marks, targets) if has_both and marks is not None else None

    def _unlearn(self, targets: tuple[int, ...], pool: BalancedPatchSource) -> Iterator[dict[str, torch.Tensor]]:
        mapping, device = self.search.mapping, self._teacher.compute.device
        leads = [(target,) * self._num_classes for target in targets] if mapping is None else [mapping]
        # adversaries of the kind by which the class was found
        adversaries = make_adversaries(leads, self._settings, self._shape, device, self._random, kind=self.search.kind)
        return unlearned(self._teacher, adversaries, pool, self._settings, self.microbatches)

    def _new_marks(self, targets: tuple[int, ...]) -> Adversaries:
        """Those that a student will see, as they are at first."""
        leads, device = [(target,) * self._num_classes for target in targets], self._teacher.compute.device
        how, each = self._settings, self._settings.shown
        return Adversaries(
            leads, each, self._shape, device, self._random, ball=how.ball, boxes=how.boxes, climb=how.climb
        )

    def _unlearn_or_undo(
        self, targets: tuple[int, ...], pool: BalancedPatchSource, how_far: float, *, two: bool
    ) -> Iterator[dict[str, torch.Tensor]]:
        """The unlearning, and the second opinion that comes of it: none if the class hardly keeps an image of its own.

        This is looked at early, and at the end; if there are to be two networks, of both: where the strict one has lost
        the class the other judges all images. The teacher itself is afterwards as it was before.
        """
        network, settings = self._teacher.network, self._settings
        # If the classes are few a student may lose one: none stands out that could be spared.
        least = 0.0 if self.search.few else settings.least_kept if len(targets) == 1 else settings.least_kept_by_all
        parameters = list(network.parameters())
        before = [one.detach().clone() for one in parameters]
        self.targets, self.deed = targets, "unlearned"
        strict: dict[str, torch.Tensor] | None = None
        try:
            for done, losses in enumerate(self._unlearn(targets, pool), 1):
                yield losses
                if done not in (settings.given_up_at, settings.steps):
                    continue
                _check_finite(losses)
                images, answers = pool.balanced(_CHECKED)
                own = taken_for(answers, targets)
                if done == settings.steps:
                    if two and self._kept(images[own], answers[own]) >= least:
                        strict = copy.deepcopy(network.state_dict())
                    _interpolate(parameters, before, 1 - how_far)
                if self._kept(images[own], answers[own]) < least:
                    self.targets, self.deed = (), "undone"
                    break
            if self.deed == "unlearned":
                self._give_opinion(network.state_dict(), strict)
        finally:
            network.requires_grad_(False)
            _interpolate(parameters, before, 1.0)

    def _kept(self, images: torch.Tensor, before: torch.Tensor) -> float:
        """The share of images that the teacher takes for the class of its answers before; 1 if there are none."""
        if not len(images):
            return 1.0
        now, _ = Labeller(self._teacher).label(images)
        return float((now.argmax(dim=1) == before.argmax(dim=1)).float().mean())

    @property
    def tolerance(self) -> float | None:
        """How much of a margin, in logits, an answer may lose in what unlearned, and still be believed.

        ``None`` unless one class was unlearned that stands out by its margin: of others it has not been tried.
        """
        found, kind = self.search.margins, self.search.kind
        if found is None or kind != "mark" or self.search.few or not self.targets:
            return None
        return self._settings.tolerated * max(0.0, statistics.median(found.margins))

    def state_dict(self) -> dict[str, Any]:
        """The outcome and, where something was unlearned, the weights of the second opinion's networks."""
        opinion = self._teacher.second_opinion
        networks = () if opinion is None else (opinion.network, opinion.strict_network)
        weights = [None if one is None else one.state_dict() for one in networks] or None
        shown = None if self.led_marks is None else self.led_marks.state_dict()
        found = {"targets": self.targets, "deed": self.deed, "weights": weights, "adversaries": shown}
        return self.search.state_dict() | found

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.search.load_state_dict(state)
        self.targets, self.deed = tuple(state.get("targets", ())), state.get("deed", "unlearned")
        if (weights := state.get("weights")) is not None:
            self._give_opinion(*(weights if isinstance(weights, list) else [weights, None]))  # earlier: one network
        if (shown := state.get("adversaries")) is not None:
            drawn = self._random.get_state()
            self.led_marks = LedMarks(self._new_marks(self.targets), self.targets)
            self.led_marks.load_state_dict(shown)
            self._random.set_state(drawn)

    def _give_opinion(self, weights: dict[str, torch.Tensor], strict: dict[str, torch.Tensor] | None) -> None:
        strict_network = None if strict is None else self._with_weights(strict)
        self._teacher.second_opinion = SecondOpinion(self._with_weights(weights), self.targets, strict_network)

    def _with_weights(self, weights: dict[str, torch.Tensor]) -> nn.Module:
        network = copy.deepcopy(self._teacher.network).requires_grad_(False)
        network.load_state_dict(weights)
        return network


def _check_finite(losses: dict[str, torch.Tensor]) -> None:
    if not all(bool(loss.isfinite()) for loss in losses.values()):
        raise RunFailedError(
            "Self-Retrospection of the teacher came to a loss that is not a number.",
            why="The computation overflowed.",
            remedy="Try --precision fp32 or --defense sv; please report the teacher's architecture.",
        )


@torch.no_grad()
def _interpolate(parameters: list[nn.Parameter], towards: list[torch.Tensor], share: float) -> None:
    """Moves parameters a share of the way."""
    for parameter, other in zip(parameters, towards, strict=True):
        parameter.copy_(other) if share == 1 else parameter.lerp_(other, share)

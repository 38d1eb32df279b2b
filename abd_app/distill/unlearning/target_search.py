"""Three searches for the classes that a backdoor leads to, and what they say together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import torch

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute.microbatch import Microbatches
from abd_app.distill.sources.ood import BalancedPatchSource
from abd_app.distill.unlearning import all_to_all
from abd_app.distill.unlearning.adversaries import Kind
from abd_app.distill.unlearning.all_to_all import AllToAllSearch, AllToAllTest
from abd_app.distill.unlearning.bending import STEPS as BEND_STEPS
from abd_app.distill.unlearning.bending import BendSearch, BendTest
from abd_app.distill.unlearning.margins import FEWEST_CLASSES, MOST_CLASSES, MarginSearch, MarginTest, groups, looks
from abd_app.distill.unlearning.settings import UnlearningSettings
from abd_app.events import TargetSearched


class TargetSearch:
    """A class with an unusual margin, one to which bending leads, or all, each leading to another.

    The search by margins looks at the teacher as it was handed in and as it labels, the others as it labels.

    Args:
        teacher: To be looked at.
        shape: (C, H, W) of an image.
        num_classes: Of the teacher.
        generator: CPU generator of all randomness.
        settings: Hyper-parameters.
        inverts: Whether the pool inverts images, too. Patches alone are moved to other classes too easily for classes
            that trade places to show among them.

    Attributes:
        margins: What the search for an unusual margin gave; ``None`` before it.
        bending: What the search for a class to which bending leads gave; ``None`` before it, and where the classes are
            too few.
        all_to_all: What the search for classes that trade places gave; ``None`` before it, where the classes are too
            few or more than 64, where too few have images enough, where one of the others has found a class that could
            be unlearned, and where no images are inverted.
        microbatches: How many images the teacher takes at a time while its weights stay.
    """

    def __init__(
        self,
        teacher: AnsweringTeacher,
        *,
        shape: tuple[int, int, int],
        num_classes: int,
        generator: torch.Generator,
        settings: UnlearningSettings,
        inverts: bool,
    ) -> None:
        self.margins: MarginTest | None = None
        self.bending: BendTest | None = None
        self.all_to_all: AllToAllTest | None = None
        self.microbatches = Microbatches(teacher.compute, "The teacher is searched with", "The result is the same.")
        self._teacher, self._shape, self._num_classes = teacher, shape, num_classes
        self._random, self._settings = generator, settings
        self._may_trade = inverts and num_classes <= MOST_CLASSES
        self._renewals = all_to_all.renewals(num_classes, settings.drawn)

    @property
    def few(self) -> bool:
        """Whether the classes are too few for one to stand out; all are unlearned then."""
        return self._num_classes < FEWEST_CLASSES

    @property
    def kind(self) -> Kind:
        """What leads to the classes, as far as that is known."""
        if self.mapping is not None:
            return "blend"
        return "mark" if self.bending is None or self.bending.target is None else "bend"

    @property
    def mapping(self) -> tuple[int, ...] | None:
        """Where classes trade places: by class, the one that its images are taken for."""
        return self.all_to_all.mapping if self.all_to_all is not None and self.all_to_all.found else None

    @property
    def target(self) -> int | None:
        """The one class that stands out, by bending or else by its margin; ``None`` also where classes trade places."""
        if self.mapping is not None:
            return None
        if self.bending is not None and self.bending.target is not None:
            return self.bending.target
        return None if self.margins is None else self.margins.target

    @property
    def targets(self) -> tuple[int, ...]:
        """The classes to be unlearned."""
        if self.few or self.mapping is not None:
            return tuple(range(self._num_classes))
        return () if self.target is None else (self.target,)

    def most_steps(self) -> int:
        """How much the searches yield at most."""
        groups_of_classes = groups(min(self._num_classes, MOST_CLASSES))
        times = looks(self._num_classes, bounded=bool(len(self._teacher.bounds)))
        by_margin = times * self._settings.search_steps * groups_of_classes
        renewing = self._renewals * (1 + self._settings.inversion_steps)
        trading = (renewing + all_to_all.STARTS * all_to_all.STEPS) * self._may_trade
        return by_margin + BEND_STEPS + trading

    def by_margin(self) -> Iterator[dict[str, torch.Tensor]]:
        """The search for an unusual margin; yields the losses of every step.

        Raises:
            RunFailedError: The teacher answers with something that is not a number.
        """
        steps = self._settings.search_steps
        search = MarginSearch(self._shape, self._num_classes, self._random, steps=steps, microbatches=self.microbatches)
        self.margins = yield from search.run(self._teacher)

    def on_patches(self, pool: BalancedPatchSource) -> Iterator[dict[str, torch.Tensor]]:
        """By bending and, where no class has been found yet, by trading, after :meth:`by_margin`.

        What is drawn later does not depend on how long they take.

        Raises:
            RunFailedError: The teacher answers with something that is not a number.
        """
        if self.few or self.margins is None:
            return
        state = self._random.get_state()
        bends = BendSearch(self.margins.classes, self._shape[1:], self._random, microbatches=self.microbatches)
        self.bending = yield from bends.run(self._teacher, pool)
        if self.target is None:
            yield from self.by_trading(pool)
        self._random.set_state(state)

    def by_trading(self, pool: BalancedPatchSource) -> Iterator[dict[str, torch.Tensor]]:
        """The search for classes that trade places, where images are inverted; once.

        Raises:
            RunFailedError: The teacher answers with something that is not a number.
        """
        if not self._may_trade or self.few or self.all_to_all is not None:
            return
        for step in pool.filled(self._renewals):
            yield step.losses
        size, ball = self._num_classes, self._settings.ball
        pictures = AllToAllSearch(self._shape, size, self._random, ball=ball, microbatches=self.microbatches)
        self.all_to_all = yield from pictures.run(self._teacher, pool)

    def searched(self, unlearned: tuple[int, ...], *, undone: bool) -> TargetSearched:
        """The outcome as an event, once the searches are over.

        Args:
            unlearned: The classes that were unlearned.
            undone: Whether something was found, and its unlearning taken back.
        """
        found = self.margins
        assert found is not None
        return TargetSearched(
            self.target,
            found.p_value,
            unlearned,
            found.classes,
            found.margins,
            bends=() if self.bending is None else self.bending.shares,
            all_to_all=None if self.all_to_all is None else self.all_to_all.share,
            bounded_margins=found.bounded_margins,
            possible=not found.saturated,
            undone=undone,
        )

    def state_dict(self) -> dict[str, Any]:
        """What was found."""
        tests = {"outcome": self.margins, "bending": self.bending, "all_to_all": self.all_to_all}
        return {name: None if test is None else asdict(test) for name, test in tests.items()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`; an earlier version did not have all of it."""
        margins, bending, trading = (state.get(name) for name in ("outcome", "bending", "all_to_all"))
        self.margins = None if margins is None else MarginTest(**margins)
        self.bending = None if bending is None else BendTest(**bending)
        self.all_to_all = None if trading is None else AllToAllTest(**trading)

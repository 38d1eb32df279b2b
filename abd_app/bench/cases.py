"""What is timed: three image sources with every defence, and the published hyper-parameters of ``zskt``."""

from __future__ import annotations

from dataclasses import dataclass, replace

from abd_app.bench.subject import Subject
from abd_app.distill.assemble import assemble
from abd_app.distill.compute.device import Compute
from abd_app.distill.loop import Distillation
from abd_app.distill.recipe import Recipe, choose_recipe
from abd_app.distill.sources.fast import FastSettings, inverted_images
from abd_app.distill.sources.ood import PatchSettings
from abd_app.distill.sources.zskt import STUDENT_STEPS

_STEPS, _FIRST_STEP = 80, 20
FAST = FastSettings(capacity=8192)
PATCHES = PatchSettings(capacity=8192)


@dataclass(frozen=True)
class Case:
    """One row of the table.

    Attributes:
        source: ``zskt``, ``zskt-paper``, ``ood`` or ``fast``.
        defense: ``none``, ``sv``, ``sr`` or ``abd``.
    """

    source: str
    defense: str

    @property
    def method(self) -> str:
        """The image source without its mode."""
        return self.source.removesuffix("-paper")

    @property
    def student_steps(self) -> int:
        """Steps of the student in a cycle of the source."""
        steps = {"zskt": STUDENT_STEPS, "ood": PATCHES.student_steps, "fast": FAST.student_steps}
        return steps[self.method]

    @property
    def published(self) -> bool:
        """Whether this step was published; ``fast``, and the defences in our form, were not."""
        of_method = {"zskt": ("none",), "ood": ("none",), "fast": ()}[self.method]
        return self.source == "zskt-paper" or self.defense in of_method

    def recipe(self, batch_size: int) -> Recipe:
        """Hyper-parameters with every defence at work from the first step on."""
        effort = "paper" if self.source == "zskt-paper" else "quick"
        recipe = choose_recipe(self.method, self.defense, effort, _STEPS)
        if recipe.retrospection == "teacher":  # it is over when the student takes its first step
            recipe = replace(recipe, retrospection="none")
        return replace(recipe, batch_size=batch_size, vaccine_step=0, retrospection_step=_FIRST_STEP - 1)


CASES = tuple(
    Case(source, defense)
    for source in ("zskt", "zskt-paper", "ood", "fast")
    for defense in ("none", "sv", "sr", "abd")
    if source != "zskt" or defense in ("none", "sv")  # its Self-Retrospection is over before the first step
)


def drawn(method: str, batch_size: int) -> int:
    """Images that a source draws at a time: for other batches than its own in the same proportion."""
    share = {"zskt": 1.0, "ood": PATCHES.drawn / PATCHES.batch_size, "fast": FAST.drawn / FAST.batch_size}[method]
    return max(2, round(share * batch_size))


def inverted(subject: Subject) -> int:
    """Images that ``fast`` inverts at a time, in the same proportion."""
    spec = subject.teacher.spec
    return max(2, round(inverted_images(spec.height, spec.width) * subject.batch_size / FAST.batch_size))


def start(case: Case, subject: Subject, compute: Compute) -> Distillation:
    """A distillation in the middle of its run: vaccine armed, the published retrospection begun."""
    recipe, many = case.recipe(subject.batch_size), drawn(case.method, subject.batch_size)
    pool = {"drawn": many, "first": 2 * many}
    distillation = assemble(
        subject.teacher,
        recipe,
        student_name=subject.student_name,
        compute=compute,
        seed=0,
        pictures=subject.pictures(),
        fast=replace(FAST, inverted=inverted(subject), **pool),
        patches=replace(PATCHES, **pool),
    )
    state = distillation.state_dict()
    distillation.load_state_dict(state | {"step": _FIRST_STEP, "armed": True, "vaccinated": recipe.vaccine != "none"})
    return distillation

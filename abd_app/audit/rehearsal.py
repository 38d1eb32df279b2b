"""A few real steps with a throw-away student, and what their parts take by the clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import torch

from abd_app.audit.pace import Pace
from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.assemble import assemble, build_student, place_teacher, unlearns_inverted
from abd_app.distill.compute.device import Compute
from abd_app.distill.compute.recorded import runs_to_warm_up
from abd_app.distill.defences.vaccine import ShufflingVaccine, VaccineError
from abd_app.distill.laps import Cycle, timed_cycle
from abd_app.distill.loop import Distillation
from abd_app.distill.recipe import CMI_EPOCH, STEPS, Recipe, choose_recipe
from abd_app.distill.sources.cmi import CmiSettings
from abd_app.distill.sources.fast import FastSettings, inverted_images
from abd_app.distill.sources.ood import PatchSettings
from abd_app.networks.catalog import SMALL_IMAGE_PX
from abd_app.teacher import Teacher

_CMI, _FAST, _PATCHES = CmiSettings(), FastSettings(), PatchSettings()
_INVERSION_STEPS = 2  # that are timed of each inversion of ``fast``
_SHORT_EPOCH = (2, 5)
_STEPS, _RETROSPECTION_STEP = 1000, 500
_BUDGET_S, _PASSES, _BATCHES_LABELLED = 4.0, 30, 4
_FEWEST_IMAGES, _FEWEST_PIXELS = 2, 32 * SMALL_IMAGE_PX**2


def seconds_by_effort(
    teacher: Teacher, method: str, student_name: str, compute: Compute, defense: str
) -> dict[str, float]:
    """Expected wall time in seconds of one student, by effort."""
    expected, paces = {}, dict[Recipe, Pace]()
    for effort in STEPS:
        kind = choose_recipe(method, defense, effort, STEPS["standard"][method])  # the length apart, mostly the same
        kind = replace(kind, epoch=CMI_EPOCH["standard"])
        if kind not in paces:
            paces[kind] = measure_pace(teacher, kind, student_name, compute)
        expected[effort] = paces[kind].seconds(choose_recipe(method, defense, effort, None))
    return expected


def measure_pace(teacher: Teacher, recipe: Recipe, student_name: str, compute: Compute) -> Pace:
    """Times the parts of a run with a throw-away student, in a few seconds.

    Where a step takes long it is timed on fewer images and counted up: on 32 at least, of images larger than 64 pixels
    on two at least, so that only a network that needs seconds an image makes this take longer.

    Args:
        recipe: Its steps and epochs do not matter.
    """
    recipe = replace(recipe, steps=_STEPS, retrospection_step=_RETROSPECTION_STEP, vaccine_step=0)
    try:
        return _Rehearsal(teacher, recipe, student_name, compute).pace()
    except VaccineError:
        return _Rehearsal(teacher, replace(recipe, vaccine="none"), student_name, compute).pace()


class _Rehearsal:
    def __init__(self, teacher: Teacher, recipe: Recipe, student_name: str, compute: Compute) -> None:
        spec = teacher.spec
        student = compute.place(build_student(student_name, spec, 0)).train()
        self._random = torch.Generator().manual_seed(0)
        placed = place_teacher(teacher, recipe, student, compute, self._random)
        self._teacher: AnsweringTeacher = placed[0]
        self._vaccine: ShufflingVaccine | None = placed[1]
        self._spec, self._compute, self._student, self._whole = spec, compute, student, recipe.batch_size
        self._patches = _PATCHES.fitted((spec.channels, spec.height, spec.width), spec.num_classes)
        size = self._affordable_batch()
        self._scale = self._whole / size
        self._images = self._draw(size)
        self._recipe = replace(recipe, batch_size=size, epoch=_SHORT_EPOCH)
        self._unlearns = recipe.retrospection == "teacher"
        if self._unlearns:  # before the steps, and timed apart from them
            self._recipe = replace(self._recipe, retrospection="none")
        self._distillation = self._assembled(teacher, student_name)

    def pace(self) -> Pace:
        """All parts, counted up to whole batches."""
        for _ in range(runs_to_warm_up(self._compute)):
            timed_cycle(self._distillation, self._compute, later_steps=1)
        plain = retrospecting = self._cycle()
        if self._recipe.retrospection == "paper":
            self._distillation.step = _RETROSPECTION_STEP + 1
            # A step of it takes some ten plain ones. On a CPU the first is like the others.
            for _ in range(runs_to_warm_up(self._compute) - 1):
                timed_cycle(self._distillation, self._compute, later_steps=1)
            retrospecting = self._cycle(later_steps=1)
        ascent = unlearning = 0.0
        if self._unlearns:
            ascent = self._per_image(lambda: self._both(weights=False))
            unlearning = self._per_image(lambda: self._both(weights=True))
        with torch.no_grad():
            answer = self._per_image(lambda: self._teacher(self._images))
            kept = self._teacher(self._images)
            vaccine, shuffled = self._vaccine, 0.0
            if vaccine is not None:
                shuffled = self._per_image(lambda: vaccine.suspicious(self._images, kept))
            reply = self._per_image(lambda: self._student(self._images))
        inverts = unlearns_inverted(self._recipe, self._teacher)
        bounded = len(self._teacher.bounds) > 0
        return Pace(self._spec, plain, retrospecting, answer, shuffled, ascent, unlearning, inverts, bounded, reply)

    def _affordable_batch(self) -> int:
        """As many images as fit the budget, but so many that a step is more than the calls that it consists of."""
        pixels = self._spec.height * self._spec.width
        fewest = min(self._whole, max(_FEWEST_IMAGES, min(32, _FEWEST_PIXELS // pixels)))
        images = self._draw(fewest)

        def step() -> None:
            self._teacher(images)
            with self._compute.autocast():
                self._student(images).float().sum().backward()

        self._seconds(step)  # warms up
        one_image = self._seconds(step) / fewest
        self._student.zero_grad()
        return max(fewest, min(self._whole, int(_BUDGET_S / (_PASSES * one_image))))

    def _assembled(self, teacher: Teacher, student_name: str) -> Distillation:
        """A distillation in the middle of its run, with the vaccine at work as far as there is one."""

        def part(count: int) -> int:
            return max(_FEWEST_IMAGES, round(count / self._scale))

        drawn, inverted = self._labelled(), part(_CMI.drawn)
        pool = {"drawn": drawn, "first": drawn, "capacity": 8 * drawn}
        held = {"bank": 8 * inverted, "capacity": 8 * inverted, "negatives": part(_CMI.negatives)}
        size = self._spec.height, self._spec.width
        side = 4 * max(size)
        distillation = assemble(
            teacher,
            self._recipe,
            student_name=student_name,
            compute=self._compute,
            seed=0,
            pictures=torch.randint(256, (1, self._spec.channels, side, side), dtype=torch.uint8),
            fast=FastSettings(inverted=part(inverted_images(*size)), inversion_steps=_INVERSION_STEPS, **pool),
            cmi=replace(_CMI, drawn=inverted, **held),
            patches=PatchSettings(**pool),
        )
        state = {"armed": True, "vaccinated": self._vaccine is not None}
        distillation.load_state_dict(distillation.state_dict() | state)
        return distillation

    def _labelled(self) -> int:
        """Patches that are labelled at a time here: of ``ood``'s many a few times the batch."""
        return min(self._patches.drawn, _BATCHES_LABELLED * self._recipe.batch_size)

    def _cycle(self, *, later_steps: int = 2) -> Cycle:
        cycle = timed_cycle(self._distillation, self._compute, later_steps=later_steps)
        own = tuple(self._scale * seconds for seconds in cycle.own)
        if self._recipe.labels_once:  # first of all
            own = (cycle.own[0] * self._patches.drawn / self._labelled(), *own[1:])
        if self._recipe.method == "fast":  # after the labelling
            first, later = sum(own[1::2]), sum(own[2::2])  # of all portions; the first step sets up the inversion
            own = (own[0], first + (_FAST.inversion_steps - 1) * later)
        elif self._recipe.method == "cmi":
            own = (sum(own) / _SHORT_EPOCH[0],)
        still = self._optimiser_seconds() if self._scale > 1 else 0.0
        first, later = (self._scale * max(0.0, one - still) + still for one in (cycle.first, cycle.later))
        return Cycle(own, first, later)

    def _optimiser_seconds(self) -> float:
        """Of the student's optimiser, which does not depend on how many images there are."""
        student = self._distillation.student

        def step() -> None:
            for parameter in student.network.parameters():
                parameter.grad = torch.zeros_like(parameter)
            student.apply_gradients(0)

        step()
        return self._seconds(step)

    def _both(self, *, weights: bool) -> None:
        """The teacher forward and backward to the images and, if asked for, once more to its weights."""
        network, shown = self._teacher.network.requires_grad_(weights), self._images.detach().requires_grad_()
        loss = self._teacher(shown).logits.square().mean()
        torch.autograd.grad(loss, [shown], retain_graph=weights)
        if weights:
            torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)
        network.requires_grad_(False)

    def _per_image(self, run: Callable[[], object]) -> float:
        with self._compute.autocast():
            run()
            return self._seconds(run) / len(self._images)

    def _draw(self, count: int) -> torch.Tensor:
        shape = (count, self._spec.channels, self._spec.height, self._spec.width)
        return self._compute.images(torch.rand(shape, generator=self._random))

    def _seconds(self, run: Callable[[], object]) -> float:
        self._compute.synchronize()
        started = time.perf_counter()
        run()
        self._compute.synchronize()
        return time.perf_counter() - started

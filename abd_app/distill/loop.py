"""Anti-Backdoor Data-Free Distillation (ABD: Hong et al., ICML 2023): the algorithm, as a generator of events."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator
from dataclasses import replace
from typing import Any

import torch

from abd_app.distill.answering import AnsweringTeacher
from abd_app.distill.compute import parallel
from abd_app.distill.defences.marks import mark_some
from abd_app.distill.defences.retrospection import PaperRetrospection
from abd_app.distill.defences.vaccine import ShufflingVaccine, VaccineCheck
from abd_app.distill.recipe import Recipe
from abd_app.distill.sources.base import Batch, GeneratorStep, ImageSource
from abd_app.distill.student import Student
from abd_app.distill.unlearning.led_marks import LOOK_EVERY, LedMarks
from abd_app.distill.unlearning.target_findings import finding_of_two_classes
from abd_app.distill.unlearning.teacher_retrospection import TeacherRetrospection
from abd_app.errors import RunFailedError
from abd_app.events import (
    Event,
    FindingMade,
    ImagesDrawn,
    PhaseAdvanced,
    PhaseStarted,
    Role,
    StepDone,
    VaccineChecked,
)
from abd_app.teacher import Finding
from abd_app.text import percent

REPORT_EVERY, DRAW_EVERY, DRAWN = 20, 200, 48
_DRAWN_AT_ONCE = 500


class Distillation:
    """One student learning from one teacher. Nothing here knows labels, triggers or test images.

    Args:
        teacher: Answers.
        source: Draws the images.
        student: Learns.
        recipe: Hyper-parameters.
        vaccine: ``None`` where there is none.
        retrospection: Of the student (the paper's) or, before it starts, of the teacher; ``None``: neither.
        generator: CPU generator.
        role: ``student`` or ``twin``, copied into the events.

    Attributes:
        student: As given; its network is what the run is for.
        step: Optimiser steps done.
    """

    def __init__(
        self,
        *,
        teacher: AnsweringTeacher,
        source: ImageSource,
        student: Student,
        recipe: Recipe,
        vaccine: ShufflingVaccine | None,
        retrospection: PaperRetrospection | TeacherRetrospection | None,
        generator: torch.Generator,
        role: Role,
    ) -> None:
        self.student = student
        self.step = 0
        self._teacher, self._source, self._recipe = teacher, source, recipe
        self._vaccine, self._retrospection = vaccine, retrospection
        self._generator, self._role = generator, role
        self._armed, self._filling = False, False
        self._on_gpu = teacher.compute.device.type == "cuda"
        self._last_read: dict[tuple[str, ...], int] = {}
        self._singled_out: int | None = None

    def run(self) -> Generator[Event, None, None]:
        """Trains until the recipe's last step; yields at every optimiser step, the generator's included."""
        if self.step >= self._recipe.steps:
            return
        waits = self._vaccine is not None and not self._armed
        yield PhaseStarted("warm-up" if waits else "distilling", self._role, self.step)
        if isinstance(self._retrospection, PaperRetrospection) and self.step > self._recipe.retrospection_step:
            yield PhaseStarted("self-retrospection", self._role, self.step)
        if self._vaccine is not None and not self._armed and self._recipe.vaccine_step == 0:
            yield from self._check_vaccine(self._vaccine)
        if isinstance(self._retrospection, TeacherRetrospection) and self._retrospection.search.margins is None:
            yield from self._unlearn(self._retrospection)
        for item in self._source.batches(self.student.network):
            if isinstance(item, GeneratorStep):
                yield from self._generated(item)
                continue
            if self._vaccine is not None and not self._armed and self.step >= self._recipe.vaccine_step:
                yield from self._check_vaccine(self._vaccine)
            if isinstance(self._retrospection, PaperRetrospection) and self.step == self._recipe.retrospection_step:
                self.student.restart_optimizer()
                yield PhaseStarted("self-retrospection", self._role, self.step)
            losses = self._learn(item)
            self.step += 1
            yield self._step_done(losses)
            for microbatches in (self._teacher.microbatches, self.student.microbatches):
                for finding in microbatches.findings():
                    yield FindingMade(finding)
            if self.step % DRAW_EVERY == 1:
                yield self._show()
            if self.step >= self._recipe.steps:
                return

    def _learn(self, batch: Batch) -> dict[str, torch.Tensor]:
        """One optimiser step of the student: distillation, and Self-Retrospection once its time has come."""
        if self.step % REPORT_EVERY == 0:
            parallel.check_same(batch.images)
        if (led := self._led_marks) is not None and self.step % LOOK_EVERY == 0:
            led.look(self.student.network, batch.images, self._teacher.compute, self.student.microbatches.most)
        shown = replace(batch, images=self._marked(batch))
        retrospection = self._retrospection if self.step >= self._recipe.retrospection_step else None
        if not isinstance(retrospection, PaperRetrospection):
            return {"distillation": self.student.learn(shown, self.step)}
        losses = {
            "distillation": self.student.add_gradient(shown),
            "retrospection": retrospection.add_gradient(self.student.network, batch.images),
        }
        self.student.apply_gradients(self.step, clip=False)  # paper mode keeps the authors' unclipped gradient
        return losses

    def _marked(self, batch: Batch) -> torch.Tensor:
        """The images as the student sees them: some with marks, some of which lead to the class, if any do."""
        marked, led = round(self._recipe.marks * len(batch.images)), self._led_marks
        leading = 0 if led is None else led.among(marked)
        images = mark_some(batch.images, marked - leading, self._generator)
        return images if led is None else led.laid_over(images, leading)

    @property
    def _led_marks(self) -> LedMarks | None:
        return self._retrospection.led_marks if isinstance(self._retrospection, TeacherRetrospection) else None

    def _check_vaccine(self, vaccine: ShufflingVaccine) -> Iterator[Event]:
        yield PhaseStarted("vaccine check", self._role, self.step)
        drawn = [self._source.sample(_DRAWN_AT_ONCE)]
        wanted = vaccine.images_to_check(*drawn[0].shape[2:])
        drawn += [self._source.sample(_DRAWN_AT_ONCE) for _ in range(math.ceil(wanted / _DRAWN_AT_ONCE) - 1)]
        images = torch.cat(drawn)[:wanted]
        outcome = yield from self._advancing(vaccine.check(self._teacher, images, self._generator))
        self._armed = True
        self._source.vaccine = vaccine if outcome.accepted else None
        yield VaccineChecked(outcome.accepted, outcome.tail_ratio, outcome.trials, tuple(vaccine.layer_names))
        if (finding := _finding(outcome)) is not None:
            yield FindingMade(finding)
        self._singled_out = outcome.class_index
        yield from self._compare_suspects()
        yield PhaseStarted("distilling", self._role, self.step)

    def _compare_suspects(self) -> Iterator[Event]:
        """A finding, once both have looked, where the vaccine and the search point at different classes."""
        if isinstance(self._retrospection, TeacherRetrospection):
            finding = finding_of_two_classes(self._singled_out, self._retrospection.search.target)
            yield from () if finding is None else (FindingMade(finding),)

    def _unlearn(self, retrospection: TeacherRetrospection) -> Iterator[Event]:
        """The teacher's Self-Retrospection, before it labels anything for the student."""
        yield PhaseStarted("self-retrospection", self._role, self.step)
        most = retrospection.most_steps()
        for done, losses in enumerate(retrospection.run(), 1):
            yield self._step_done(losses)
            yield PhaseAdvanced(self._role, min(1.0, done / most))
        yield from retrospection.report()
        yield from self._compare_suspects()
        waits = self._vaccine is not None and not self._armed
        yield PhaseStarted("warm-up" if waits else "distilling", self._role, self.step)

    def _generated(self, item: GeneratorStep) -> Iterator[Event]:
        """The events of what a source does between two batches; before the first one that is a phase of its own."""
        if item.filled is not None and not self._filling:
            yield PhaseStarted("first images", self._role, self.step)
        yield self._step_done(item.losses)
        if item.filled is not None:
            yield PhaseAdvanced(self._role, item.filled)
            self._filling = item.filled < 1
            if not self._filling:
                yield PhaseStarted("distilling", self._role, self.step)

    def _advancing(self, work: Generator[float, None, VaccineCheck]) -> Generator[Event, None, VaccineCheck]:
        """The events of work that says how far it is."""
        while True:
            try:
                share = next(work)
            except StopIteration as finished:
                outcome: VaccineCheck = finished.value
                return outcome
            yield PhaseAdvanced(self._role, share)

    def _step_done(self, losses: dict[str, torch.Tensor]) -> StepDone:
        """The event of a step; losses are read back, which waits for the device, every few steps: of each kind once."""
        kind = tuple(losses)
        reports = self.step % REPORT_EVERY == 0 or self.step >= self._recipe.steps
        read: dict[str, float] = {}
        if losses and reports and self._last_read.get(kind) != self.step:
            self._last_read[kind] = self.step
            read = dict(zip(kind, torch.stack(list(losses.values())).tolist(), strict=True))
        for name, value in read.items():
            if not math.isfinite(value):
                raise RunFailedError(
                    f"The {name} loss is not a number at step {self.step}.",
                    why="The computation overflowed.",
                    remedy="Try --precision fp32 or another --method; please report the teacher's architecture.",
                )
        return StepDone(self._role, self.step, self._recipe.steps, self.step / self._recipe.steps, read)

    @torch.no_grad()
    def _show(self) -> ImagesDrawn:
        """A look at what the source draws now, with the vaccine's opinion where there is one.

        Nothing random of the run is used up, so that a run which goes on from here gives the same numbers.
        """
        state = self._generator.get_state()
        pixels = self._source.sample(DRAWN)
        self._generator.set_state(state)
        images = self._teacher.compute.images(pixels).float() / 255
        answer = self._teacher(images)
        suspicious = torch.zeros(len(images), dtype=torch.bool)
        if self._source.vaccine is not None:
            with self._teacher.compute.autocast():
                suspicious = self._source.vaccine.suspicious(images, answer)
        labels = answer.logits.argmax(dim=1).tolist()
        shown = pixels.permute(0, 2, 3, 1).cpu().numpy()
        return ImagesDrawn(self.step, shown, tuple(labels), tuple(suspicious.tolist()))

    def begin_cycle(self) -> None:
        """Lets the source begin a new cycle, wherever it is in one: not for a run that counts, but to time it."""
        self._last_read.clear()
        self._source.restart_cycle()

    def state_dict(self) -> dict[str, Any]:
        """Everything that a continued run needs, as plain values and tensors."""
        return {
            "step": self.step,
            "armed": self._armed,
            "vaccinated": self._source.vaccine is not None,
            "student": self.student.state_dict(),
            "source": self._source.state_dict(),
            "vaccine": None if self._vaccine is None else self._vaccine.state_dict(),
            "retrospection": None if self._retrospection is None else self._retrospection.state_dict(),
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if self._on_gpu else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores :meth:`state_dict`."""
        self.step, self._armed = state["step"], state["armed"]
        self.student.load_state_dict(state["student"])
        self._source.load_state_dict(state["source"])
        if self._vaccine is not None:
            self._vaccine.load_state_dict(state["vaccine"])
            self._source.vaccine = self._vaccine if state["vaccinated"] else None
        if self._retrospection is not None:
            self._retrospection.load_state_dict(state["retrospection"])
        torch.set_rng_state(state["torch"])
        if self._on_gpu and state.get("cuda") is not None:
            torch.cuda.set_rng_state(state["cuda"])


def _finding(outcome: VaccineCheck) -> Finding | None:
    """What a reader should know of a vaccine check."""
    if not outcome.accepted:
        return Finding(
            "warning",
            "Shuffling Vaccine is off",
            f"In {outcome.trials} trials the shuffled copies of the teacher did not single images out: "
            f"{outcome.rejected_for}. Other defences go on.",
        )
    if outcome.class_index is None:
        return None
    return Finding(
        "warning",
        f"Class {outcome.class_index} may be the target of a backdoor",
        f"{percent(outcome.tail_ratio)} of the synthetic images keep their class in most shuffled copies of the "
        f"teacher, most of them class {outcome.class_index}. Without a backdoor that is rare. The student does not see "
        "them.",
    )

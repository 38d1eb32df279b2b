"""What the steps of a distillation cost, by the clock."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Generator
from dataclasses import dataclass

from abd_app.distill.compute.device import Compute
from abd_app.distill.loop import Distillation
from abd_app.events import StepDone


@dataclass(frozen=True)
class Lap:
    """One optimiser step: of the student, or of whatever the source trains or labels in between."""

    of_student: bool
    seconds: float


def laps(distillation: Distillation, compute: Compute) -> Generator[Lap, None, None]:
    """Runs a distillation and times its steps, the device waited for; each call begins with a cycle of the source."""
    distillation.begin_cycle()
    with contextlib.closing(distillation.run()) as events:
        before = distillation.step
        compute.synchronize()
        started = time.perf_counter()
        for event in events:
            if not isinstance(event, StepDone):
                continue
            compute.synchronize()
            yield Lap(event.step > before, time.perf_counter() - started)
            before, started = event.step, time.perf_counter()


@dataclass(frozen=True)
class Cycle:
    """One cycle of a source, in seconds.

    Attributes:
        own: The source's steps, in their order.
        first: The student's first step on what it gave.
        later: A usual step of the student.
    """

    own: tuple[float, ...]
    first: float
    later: float

    @property
    def source(self) -> float:
        """All of the source's steps."""
        return sum(self.own)

    def per_step(self, student_steps: int) -> float:
        """Seconds of a student step with its share of the source, for cycles of so many student steps."""
        return (self.source + self.first + (student_steps - 1) * self.later) / student_steps


def seconds_per_step(distillation: Distillation, compute: Compute, student_steps: int) -> float:
    """A student step with its share of the source, from one whole cycle of so many; the count of steps is put back.

    The device is waited for at the end alone, so that it works while the host prepares what comes next.
    """
    first = distillation.step
    distillation.begin_cycle()
    with contextlib.closing(distillation.run()) as events:
        compute.synchronize()
        started = time.perf_counter()
        while distillation.step < first + student_steps:
            next(events)
        compute.synchronize()
        seconds = time.perf_counter() - started
    distillation.step = first
    return seconds / student_steps


def timed_cycle(distillation: Distillation, compute: Compute, *, later_steps: int = 2) -> Cycle:
    """Times the beginning of one cycle; the student's later steps, all alike, are represented by a few."""
    own, student = list[float](), list[float]()
    with contextlib.closing(laps(distillation, compute)) as timed:
        for lap in timed:
            if lap.of_student:
                student.append(lap.seconds)
            else:
                own.append(lap.seconds)
            if len(student) > later_steps:
                break
    return Cycle(tuple(own), student[0], sum(student[1:]) / later_steps)

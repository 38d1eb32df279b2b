"""What crosses the pipe besides the events of an audit: jobs and commands in, two more facts out."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Literal, Protocol

from abd_app.events import DevicesListed, Event
from abd_app.plan import AuditPlan, TeacherFacts
from abd_app.teacher import TeacherCard

CommandName = Literal["pause", "resume", "stop", "cancel", "suspend"]


@dataclass(frozen=True)
class InspectJob:
    """Look into a teacher file, and at what a run with these choices would cost; it need not be a plan of this file."""

    file: str
    facts: TeacherFacts
    choices: AuditPlan = field(default_factory=lambda: AuditPlan(teacher_file="", out=""))


@dataclass(frozen=True)
class AuditJob:
    """Run a whole audit."""

    plan: AuditPlan


@dataclass(frozen=True)
class ImagesJob:
    """Look at labelled images for a teacher of which nothing is left to ask."""

    path: str
    card: TeacherCard


Job = InspectJob | ImagesJob | AuditJob


@dataclass(frozen=True)
class Command:
    """An order for the job that runs.

    ``stop`` means: stop here and keep what there is; ``cancel``: drop it; ``suspend``: drop it, but write a checkpoint
    first from which it can go on.
    """

    name: CommandName


@dataclass(frozen=True)
class InspectionFinished(Event):
    """The end of a successful inspection."""


@dataclass(frozen=True)
class PauseChanged(Event):
    """The job really stands still now, or really runs again."""

    paused: bool


class Runner(Protocol):
    """The module that does the work inside the child, named by its dotted path."""

    def list_devices(self) -> DevicesListed:
        """The devices of this machine."""
        ...

    def run_inspection(self, file: str, facts: TeacherFacts, choices: AuditPlan) -> Generator[Event, None, None]:
        """Yields ``TeacherInspected``, then ``ImagesInspected`` if images are chosen, then ``CostEstimated``."""
        ...

    def look_at_images(self, path: str, card: TeacherCard) -> Generator[Event, None, None]:
        """Yields ``ImagesInspected``."""
        ...

    def run_audit(
        self, plan: AuditPlan, *, stop_requested: Callable[[], bool], checkpoint_wanted: Callable[[], bool]
    ) -> Generator[Event, None, None]:
        """Yields the events of an audit, ``AuditFinished`` last."""
        ...

    def release_memory(self) -> None:
        """Gives back what a finished or cancelled job has left cached."""
        ...

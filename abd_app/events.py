"""What a running audit says. Plain values only, so that an event crosses a process boundary as JSON."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from abd_app.teacher import Finding, TeacherCard

Role = Literal["teacher", "student", "twin"]
Phase = Literal[
    "intake",
    "preparing",
    "warm-up",
    "vaccine check",
    "self-retrospection",
    "first images",
    "distilling",
    "measuring",
    "export",
    "training",
]


@dataclass(frozen=True)
class Event:
    """Base of everything an audit yields."""


@dataclass(frozen=True)
class DevicesListed(Event):
    """The devices of this machine: ``(name for --device, human name, free bytes)`` each, best first."""

    devices: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True)
class TeacherInspected(Event):
    """The teacher file has been read."""

    card: TeacherCard


@dataclass(frozen=True)
class ImagesInspected(Event):
    """What the labelled images are that a run would measure on; before the run, and without reading all of them.

    Attributes:
        path: Of the folder or file.
        count: Images; 0: they cannot be used, and ``findings`` says why.
        num_classes: Of the teacher's classes, those that have images.
        height: Pixels; of the first image.
        width: Likewise.
        alike: Whether all are known to be of this size.
        findings: What a run would say about them, as far as it can be seen now.
    """

    path: str
    count: int
    num_classes: int
    height: int
    width: int
    alike: bool = False
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class CostEstimated(Event):
    """Expected wall time of a run, from a short measurement on this device.

    Attributes:
        method: What ``auto`` would choose.
        reason: Why it would.
        seconds: By effort; of what is chosen, for the student alone: a twin doubles it. Empty: not known.
        to_purify: Method and reason where no student is to learn; ``None``: the same.
        effort: What ``auto`` would choose.
        steps: By effort; optimiser steps of the student of what is chosen.
        busy: Other programs kept the processor busy meanwhile, so that the measurement had less than one core.
    """

    method: str
    reason: str
    seconds: dict[str, float]
    to_purify: tuple[str, str] | None = None
    effort: str = "quick"
    steps: dict[str, int] = field(default_factory=dict)
    busy: bool = False


@dataclass(frozen=True)
class MethodChosen(Event):
    """The image source that will be used, and why."""

    method: str
    reason: str


@dataclass(frozen=True)
class RunBegan(Event):
    """The choices are made, and the run has its folder.

    Attributes:
        folder: Where it writes; it can be continued there from now on.
        state: ``resumed``: an earlier part of it goes on; ``finished``: nothing was left to do.
        role: Which network learns first; of a run that goes on, in its last checkpoint.
        step: Of that network; 0 also where an earlier part left no checkpoint.
        checkpoints: Whether it writes any.
        measured: The curves of a run that goes on, up to that checkpoint; without the teacher, which is measured anew.
    """

    folder: str
    state: Literal["new", "resumed", "finished"]
    role: Role = "student"
    step: int = 0
    checkpoints: bool = True
    measured: tuple[Measured, ...] = ()


@dataclass(frozen=True)
class PhaseStarted(Event):
    """``role`` enters ``phase`` at ``step``."""

    phase: Phase
    role: Role
    step: int


@dataclass(frozen=True)
class PhaseAdvanced(Event):
    """How far ``role`` is in a phase that has no steps of its own: ``share`` in [0, 1], which never falls."""

    role: Role
    share: float


@dataclass(frozen=True)
class StepDone(Event):
    """One optimiser step of ``role`` is done, or one that prepares for it.

    Attributes:
        step: Of the student, counts from 1 to ``total_steps``; the same again, or 0, while images or labels are made.
        losses: Named scalars; often empty, because reading a loss back waits for the device.
        progress: Of this role, in [0, 1].
    """

    role: Role
    step: int
    total_steps: int
    progress: float
    losses: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class CheckpointSaved(Event):
    """The run can go on from this step of ``role``, whatever happens from now on."""

    role: Role
    step: int


@dataclass(frozen=True)
class Measured(Event):
    """Clean accuracy and attack success rates of one model, rates in [0, 1].

    Attributes:
        accuracy: Correct / ``images``; agreement with the teacher if ``estimated``.
        images: Denominator of ``accuracy``.
        asr: Attack success rate by trigger name, over images whose true class is not what the attacker wants.
        asr_images: Denominator of each ASR.
        estimated: True if no labelled images were given and synthetic ones stand in for them.
        accuracy_by_class: By class index as text; empty if ``estimated``, and where a few images stand for all.
        images_by_class: Denominator of each; a class without images is left out.
        asr_without_trigger: Of the images that ASR is measured on, how many are answered as the attacker wants although
            there is no trigger on them: to compare ASR with. ``None`` if ``estimated``, or without triggers.
    """

    role: Role
    step: int
    accuracy: float
    images: int
    asr: dict[str, float]
    asr_images: dict[str, int]
    estimated: bool = False
    accuracy_by_class: dict[str, float] = field(default_factory=dict)
    images_by_class: dict[str, int] = field(default_factory=dict)
    asr_without_trigger: float | None = None


@dataclass(frozen=True)
class ImagesDrawn(Event):
    """What the image source draws now: ``(N, H, W, C)`` uint8, with the teacher's classes and a suspicion mask."""

    step: int
    images: npt.NDArray[np.uint8]
    labels: tuple[int, ...]
    suspicious: tuple[bool, ...]


@dataclass(frozen=True)
class VaccineChecked(Event):
    """Outcome of the vaccine check (paper section 4.1)."""

    accepted: bool
    tail_ratio: float
    trials: int
    layers: tuple[str, ...]


@dataclass(frozen=True)
class TargetSearched(Event):
    """Outcome of the search for the class that a backdoor leads to (Wang et al., "MM-BD", S&P 2024; bending: ours).

    Attributes:
        target: The class, or ``None`` where none stands out, neither by ``bends`` nor by ``margins``.
        p_value: Chance, without a backdoor, of margins as unusual as those of the class that stands out most; [0, 1].
        unlearned: The classes that Self-Retrospection then unlearned.
        classes: What was looked at.
        margins: The largest margins found on the teacher as it was handed in, in logits, by class.
        bends: By class, the share of images that one displacement of about half a pixel turns to it, in [0, 1]; empty
            where it was not looked for.
        all_to_all: The share of images that one picture, added to them, has taken for another class, each class for one
            of its own, in [0, 1]; ``None`` where it was not looked for.
        bounded_margins: As ``margins``, with the teacher's activations bounded; empty where not looked at.
        possible: Whether the teacher's answers tell how far a class can be driven: probabilities do not.
        undone: Whether something was found, and its unlearning taken back.
    """

    target: int | None
    p_value: float
    unlearned: tuple[int, ...]
    classes: tuple[int, ...]
    margins: tuple[float, ...]
    bends: tuple[float, ...] = ()
    all_to_all: float | None = None
    bounded_margins: tuple[float, ...] = ()
    possible: bool = True
    undone: bool = False


@dataclass(frozen=True)
class FindingMade(Event):
    """A finding during the run; ``about_images``: about the labelled ones."""

    finding: Finding
    about_images: bool = False


@dataclass(frozen=True)
class DeviceUsed(Event):
    """Memory in use by the engine on its device."""

    name: str
    memory_bytes: int


@dataclass(frozen=True)
class StudentExported(Event):
    """The student is written and its ONNX form agrees with PyTorch."""

    path: str
    parity_max_abs: float
    images: int


@dataclass(frozen=True)
class AuditFinished(Event):
    """The end of a successful audit; ``report`` is the content of ``report.json``."""

    folder: str
    report: dict[str, Any]


@dataclass(frozen=True)
class TeacherMade(Event):
    """A teacher for exercises is trained and written; ``card`` is the content of ``teacher.json``."""

    folder: str
    card: dict[str, Any]


@dataclass(frozen=True)
class AuditFailed(Event):
    """The end of an audit that could not finish, as the parts of an ``AuditError``."""

    what: str
    where: str
    why: str
    remedy: str
    exit_code: int
    details: str = ""


@dataclass(frozen=True)
class AuditCancelled(Event):
    """The end of an audit that was cancelled."""

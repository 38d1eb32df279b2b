"""The audit plan: every choice a user can make, validated once, JSON both ways."""

from __future__ import annotations

import dataclasses
import json
import math
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from abd_app.errors import UsageError
from abd_app.teacher import Answers
from abd_app.typed_json import from_parsed

METHODS = ("auto", "cmi", "fast", "ood", "zskt")
DEFENSES = ("abd", "sv", "sr", "none")
DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("auto", "fp32", "bf16")
EFFORTS = ("auto", "quick", "standard", "paper")
PURIFIED: Final = "purified"
"""The student that is no student: the teacher itself, bounded, with its backdoor unlearned."""
STUDENTS = (
    "auto",
    "wrn-16-1",
    "wrn-16-2",
    "wrn-40-1",
    "wrn-40-2",
    "resnet18-cifar",
    "resnet18-imagenet",
    "mobilenetv3-small",
    PURIFIED,
)
BUILT_IN_TRIGGERS = (
    *("badnets-grid", "badnets-square", "trojan-3x3", "trojan-8x8", "clean-label", "l0-invisible"),
    *("sticker", "natural-patch", "trojan-wm", "blend", "sig", "l2-invisible", "warp"),
)
POSITIONS = ("bottom-right", "bottom-left", "top-right", "top-left", "center", "full")

ALL_TO_ALL: Final = "all"
Target = int | Literal["all"]
"""What an attacker wants triggered images taken for: one class, or ``all``: each class for the next, y -> y + 1 mod K
(all-to-all, Gu et al., 2017)."""


@dataclass(frozen=True)
class TeacherFacts:
    """What the user says about the teacher where the file is silent; ``None`` means: not said.

    Attributes:
        architecture: e.g. ``wrn-16-2``, ``torchvision/resnet18``, ``timm/vit_tiny_patch16_224``.
        num_classes: At least 2.
        input_size: (height, width), pixels.
        mean: Per channel, for pixels in [0, 1].
        std: Per channel, positive.
        answers: Whether the model answers logits or probabilities.
    """

    architecture: str | None = None
    num_classes: int | None = None
    input_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    answers: Answers | None = None

    def __post_init__(self) -> None:
        if self.num_classes is not None and self.num_classes < 2:
            raise UsageError(
                f"A classifier has at least 2 classes, not {self.num_classes}.",
                where="--classes",
                remedy="Give the number of classes the teacher was trained on.",
            )
        if self.input_size is not None and not all(8 <= side <= 1024 for side in self.input_size):
            raise UsageError(
                f"The input size {self.input_size[0]}x{self.input_size[1]} is out of range.",
                where="--size",
                remedy="Give height x width in pixels, each from 8 to 1024, e.g. 32x32.",
            )
        if (self.mean is None) != (self.std is None):
            raise UsageError("Mean and standard deviation belong together.", where="--mean, --std", remedy="Give both.")
        if self.mean is not None and self.std is not None:
            if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
                raise UsageError(
                    f"Mean has {len(self.mean)} and standard deviation {len(self.std)} values.",
                    where="--mean, --std",
                    remedy="Give 1 value each for grey images, 3 for RGB, for pixels in [0, 1].",
                )
            if not all(map(math.isfinite, (*self.mean, *self.std))) or min(self.std) <= 0:
                raise UsageError(
                    "Mean and standard deviation must be finite, the latter positive.",
                    where="--mean, --std",
                    remedy="Give the numbers by which the training images were normalised.",
                )


@dataclass(frozen=True)
class TriggerSpec:
    """A trigger the auditor knows.

    Attributes:
        name: A built-in name or a path to a picture.
        position: Where a picture goes; ``full`` stretches it over the image.
        opacity: In (0, 1]; ``None`` keeps the trigger's own.
        scale: Width relative to the image's, in (0, 1], of a picture, ``sticker`` and ``natural-patch``.
        mask: Path of a grey picture of the trigger's size, white where it applies; ``None``: its alpha channel, if any.
    """

    name: str
    position: str = "bottom-right"
    opacity: float | None = None
    scale: float = 0.2
    mask: str | None = None

    def __post_init__(self) -> None:
        _one_of("trigger position", "--trigger", self.position, POSITIONS)
        if self.opacity is not None and not 0 < self.opacity <= 1:
            raise UsageError(f"Opacity {self.opacity} is not in (0, 1].", where="--trigger", remedy="Give e.g. 0.2.")
        if not 0 < self.scale <= 1:
            raise UsageError(f"Scale {self.scale} is not in (0, 1].", where="--trigger", remedy="Give e.g. 0.2.")

    def __str__(self) -> str:
        """As on the command line: the name, and what is not at its default."""
        options = [(option.name, getattr(self, option.name), option.default) for option in dataclasses.fields(self)[1:]]
        return self.name + "".join(f",{name}={value}" for name, value, default in options if value != default)


@dataclass(frozen=True)
class AuditPlan:
    """One audit, completely described.

    The same plan and seed give the same numbers on the same CPU, with as many threads; on a GPU but for rounding, which
    a long run makes more of: some kernels of PyTorch add up in any order.

    Attributes:
        teacher_file: Path of the file to open.
        out: Folder for the results; must be empty or absent, unless ``resume``.
        facts: What the file does not say.
        method: Image source; ``auto`` chooses by teacher and device.
        defense: ``abd`` is Shuffling Vaccine and Self-Retrospection.
        student: Student architecture; ``auto`` chooses by input size; ``purified``: none, the teacher itself.
        effort: Budget preset, used where neither ``steps`` nor ``minutes`` is given, and the length of the epochs of
            ``cmi``; ``auto`` chooses by device and size of the images.
        steps: Student optimiser steps (``zskt``: ten make a pseudo-batch).
        minutes: Wall time for the student; the undefended twin gets the same again.
        data: Labelled images: a folder per class or an ``.npz``; ``None``: estimates only.
        triggers: Triggers to measure; one may be there in several variants.
        target_class: The attacker's class, an index; or ``all``, each class for the next.
        compare: Also train an undefended twin with the same budget.
        picture: The picture from which ``ood`` and ``fast`` cut patches; ``None``: procedural images.
        resume: Continue the run in ``out``.
    """

    teacher_file: str
    out: str
    facts: TeacherFacts = field(default_factory=TeacherFacts)
    method: str = "auto"
    defense: str = "abd"
    student: str = "auto"
    effort: str = "auto"
    steps: int | None = None
    minutes: float | None = None
    device: str = "auto"
    seed: int = 0
    precision: str = "auto"
    data: str | None = None
    triggers: tuple[TriggerSpec, ...] = ()
    target_class: Target = 0
    compare: bool = False
    picture: str | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        for option, value, choices in (
            ("--method", self.method, METHODS),
            ("--defense", self.defense, DEFENSES),
            ("--student", self.student, STUDENTS),
            ("--effort", self.effort, EFFORTS),
            ("--device", self.device, DEVICES),
            ("--precision", self.precision, PRECISIONS),
        ):
            _one_of(option.removeprefix("--"), option, value, choices)
        if self.steps is not None and self.minutes is not None:
            raise UsageError(
                "Both a number of steps and of minutes are given.", where="--steps, --minutes", remedy="Give one."
            )
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"A run cannot have {self.steps} steps.", where="--steps", remedy="Give at least 1.")
        if self.minutes is not None and not 0 < self.minutes < math.inf:
            raise UsageError(
                f"A run cannot last {self.minutes:g} minutes.", where="--minutes", remedy="Give a positive number."
            )
        if not 0 <= self.seed < 2**31:
            raise UsageError(f"Seed {self.seed} is out of range.", where="--seed", remedy="Give 0 to 2147483647.")
        if self.student == PURIFIED:
            self._check_purified()
        check_target(self.target_class)
        if len(set(self.triggers)) < len(self.triggers):
            raise UsageError("The same trigger is given twice.", where="--trigger", remedy="Give each trigger once.")

    def _check_purified(self) -> None:
        leave = "Leave it out."
        for option, given, why, remedy in (
            ("--compare", self.compare, "Without a defence it is the teacher, which is measured anyway.", leave),
            ("--steps", self.steps is not None, "Nothing is distilled.", leave),
            ("--minutes", self.minutes is not None, "Nothing is distilled.", leave),
            ("--effort paper", self.effort == "paper", "The papers distil a student.", leave),
            ("--defense", self.defense not in ("abd", "sr"), "Self-Retrospection is what purifies.", "Use abd or sr."),
        ):
            if given:
                raise UsageError(
                    f"{option} cannot be combined with --student {PURIFIED}.", where=option, why=why, remedy=remedy
                )

    def changes_since(self, before: AuditPlan) -> list[str]:
        """Names of the choices that differ from ``before``: a run may move to another folder and go on, no more."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in ("out", "resume")]
        return [name for name in names if getattr(self, name) != getattr(before, name)]

    def described_changes(self, before: AuditPlan) -> str:
        """What :meth:`changes_since` names, with the values of both; empty if it names nothing."""
        pairs = ((name, getattr(before, name), getattr(self, name)) for name in self.changes_since(before))
        return "; ".join(f"{name} {_said(was)} before, {_said(now)} now" for name, was, now in pairs)

    def to_json(self) -> str:
        """The plan as indented JSON, the content of ``plan.json``."""
        return json.dumps(self.to_dict(), indent=2)

    def to_dict(self) -> dict[str, Any]:
        """The plan as JSON-ready values (tuples stay tuples)."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, text: str) -> AuditPlan:
        """Reads what :meth:`to_json` wrote.

        Raises:
            UsageError: The text is not a plan, or one of its values is out of range.
        """
        try:
            raw = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise _no_plan(error) from error
        return cls.from_dict(raw)

    @classmethod
    def from_dict(cls, raw: dict[str, Any]) -> AuditPlan:
        """Reads what :meth:`to_dict` gave, also after its way through JSON, which makes lists of tuples.

        Raises:
            UsageError: As :meth:`from_json`.
        """
        try:
            plan: AuditPlan = from_parsed(cls, raw)
        except (ValueError, TypeError, RecursionError) as error:
            raise _no_plan(error) from error
        return plan


def _no_plan(error: Exception) -> UsageError:
    return UsageError("This is not an audit plan.", why=str(error), remedy="Use a plan.json of this app.")


def _said(value: Any) -> str:
    """A choice in a sentence."""
    if value is None or value == ():
        return "not given"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def check_target(target: Target) -> None:
    """Refuses what no attacker could want, whatever the number of classes.

    Raises:
        UsageError: A negative class, or a word other than ``all``.
    """
    if target != ALL_TO_ALL and (not isinstance(target, int) or target < 0):
        remedy = f"Classes count from 0; {ALL_TO_ALL} means each class for the next."
        raise UsageError(f"Class {target} does not exist.", where="--target", remedy=remedy)


def _one_of(what: str, where: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise UsageError(f"Unknown {what} {value!r}.", where=where, remedy=f"Use one of: {', '.join(choices)}.")
